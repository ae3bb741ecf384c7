"""Experiments: a table each, and one of every model; `snakemake results/<run>/experiments/<name>.tsv` trains no others."""


rule experiment:
    input:
        metrics=lambda w: runs_metrics(shown.experiment_students(config, w.experiment)),
        models=lambda w: runs_configs(shown.experiment_students(config, w.experiment)),
    output:
        "results/{run}/experiments/{experiment}.tsv",
    log:
        "results/{run}/logs/experiment/{experiment}.log",
    wildcard_constraints:
        experiment=named(config["experiments"]),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: runs_settings(shown.experiment_students(config, w.experiment)),
        metrics=lambda w, input: by_system(input.metrics),
        models=lambda w, input: by_model(input.models),
        code=stage_code("runs"),
    message:
        "Writing the table of the experiment {wildcards.experiment}"
    shell:
        "spkdistill runs --settings {params.settings:q} --metrics {params.metrics} --model {params.models} --output {output}"
        " > {log} 2>&1"


use rule experiment as runs with:
    input:
        metrics=runs_metrics(shown.every_student(config)),
        models=runs_configs(shown.every_student(config)),
    output:
        of_run("results/{run}/report/runs.tsv"),
    log:
        *of_run("results/{run}/logs/runs.log"),
    params:
        settings=runs_settings(shown.every_student(config)),
        metrics=lambda w, input: by_system(input.metrics),
        models=lambda w, input: by_model(input.models),
        code=stage_code("runs"),
    message:
        "Writing the table of all models"


rule experiments:
    input:
        of_run("results/{run}/experiments/{experiment}.tsv", experiment=config["experiments"]),
        rules.runs.output,
    message:
        "The tables of the experiments are there"
