"""Scores of the trial lists, by every model and back-end."""


rule score:
    input:
        backend=backend_files,
        scp=lambda w: f"results/{w.run}/embeddings/{w.model}/{config['trials'][w.trials]['set']}/xvector.scp",
        arks=lambda w: expand(
            f"results/{w.run}/embeddings/{w.model}/{config['trials'][w.trials]['set']}/xvector.{{job}}.ark",
            job=JOBS,
        ),
        trials=trial_list,
    output:
        scores="results/{run}/scores/{model}/{backend}/{trials}/scores",
        rejected="results/{run}/scores/{model}/{backend}/{trials}/rejected.tsv",
    log:
        "results/{run}/logs/score/{model}.{backend}.{trials}.log",
    benchmark:
        "results/{run}/benchmarks/score/{model}.{backend}.{trials}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: as_json(config["backends"][w.backend]),
        backend=lambda w, input: [
            f"--{option} {path}" for option, path in zip(BACKEND_OPTIONS, input.backend)
        ],
        share=config["data"]["max_rejected"],
        code=code_hash("backend.scoring"),
    message:
        "Scoring {wildcards.trials} with {wildcards.model} and {wildcards.backend}"
    shell:
        "spkdistill score --settings {params.settings:q} {params.backend} --embeddings {input.scp}"
        " --trials {input.trials} --max-rejected {params.share}"
        " --output {output.scores} --rejected {output.rejected} > {log} 2>&1"


rule scores:
    input:
        artifacts(
            rules.score,
            model=MODELS,
            backend=config["backends"],
            trials=config["trials"],
        ),
    message:
        "The scores are there"
