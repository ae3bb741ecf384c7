"""The report: a page and a table for the run; `snakemake results/<run>/experiments/<name>.html` makes one of an experiment."""


rule report:
    input:
        metrics=of_run(
            "results/{run}/metrics/{model}/{backend}/{trials}.json",
            model=MODELS,
            backend=config["backends"],
            trials=MEASURED,
        ),
        paired=compared_tables(),
        references=reference_tables(config["experiments"]),
        models=[model_file(model, "config.json") for model in MODELS],
        logs=[model_file(model, "log.tsv") for model in MODELS if model not in FOREIGN],
        rejected=rejected_files(),
        manifests=manifest_files(),
        analyses=rules.analyses.input.found,
    output:
        html=of_run("results/{run}/report/index.html"),
        summary=of_run("results/{run}/report/summary.tsv"),
    log:
        *of_run("results/{run}/logs/report.log"),
    benchmark:
        of_run("results/{run}/benchmarks/report.tsv")[0]
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=in_pieces(json.dumps(shown.report_settings(config))),  # its order is that of the tables
        metrics=lambda w, input: by_system(input.metrics),
        references=lambda w, input: by_reference(input.references),
        models=lambda w, input: by_model(input.models),
        logs=lambda w, input: by_model(input.logs),
        rejected=lambda w, input: by_stage(input.rejected),
        manifests=lambda w, input: by_stage(input.manifests),
        analyses=lambda w, input: by_teacher(input.analyses),
        beside=lambda w, output: f"--summary {output.summary}",
        code=stage_code("report"),
    message:
        "Writing the report"
    shell:
        "spkdistill report --settings {params.settings:q} --metrics {params.metrics} --paired {input.paired}"
        " --reference {params.references}"
        " --model {params.models} --log {params.logs} --rejected {params.rejected} --manifest {params.manifests}"
        " --analysis {params.analyses} --html {output.html} {params.beside} > {log} 2>&1"


use rule report as experiment_page with:
    input:
        metrics=lambda w: runs_metrics(
            shown.experiment_students(config, w.experiment), shown.page_backends(config, w.experiment)
        ),
        paired=lambda w: student_tables(w.experiment),
        references=lambda w: reference_tables([w.experiment]),
        models=lambda w: runs_configs(shown.experiment_students(config, w.experiment)),
        logs=lambda w: page_logs(w.experiment),
        rejected=rejected_files(),
        manifests=manifest_files(),
        analyses=[],
    output:
        html="results/{run}/experiments/{experiment}.html",
        plot="results/{run}/experiments/{experiment}.svg",
        methods="results/{run}/experiments/{experiment}.methods.tsv",
    log:
        "results/{run}/logs/experiment_page/{experiment}.log",
    benchmark:
        "results/{run}/benchmarks/experiment_page/{experiment}.tsv"
    wildcard_constraints:
        experiment=named(config["experiments"]),
    params:
        settings=lambda w: in_pieces(json.dumps(shown.experiment_page_settings(config, w.experiment))),
        metrics=lambda w, input: by_system(input.metrics),
        references=lambda w, input: by_reference(input.references),
        models=lambda w, input: by_model(input.models),
        logs=lambda w, input: by_model(input.logs),
        rejected=lambda w, input: by_stage(input.rejected),
        manifests=lambda w, input: by_stage(input.manifests),
        analyses=[],
        beside=lambda w, output: f"--plot {w.experiment}={output.plot} --methods {w.experiment}={output.methods}",
        code=stage_code("report"),
    message:
        "Writing the page of the experiment {wildcards.experiment}"
