"""Scores of the trial lists, by every model and back-end; those of a fusion are sums of other back-ends' scores."""


rule score:
    input:
        backend=backend_files,
        scp=lambda w: embedding_files(w.model, config["trials"][w.trials]["set"], "xvector.scp"),
        arks=lambda w: embedding_files(w.model, config["trials"][w.trials]["set"], "xvector.{job}.ark"),
        cohort=cohort_files,
        trials=trial_list,
        models=model_files,
    output:
        scores="results/{run}/scores/{model}/{backend}/{trials}/scores",
        rejected="results/{run}/scores/{model}/{backend}/{trials}/rejected.tsv",
    log:
        "results/{run}/logs/score/{model}.{backend}.{trials}.log",
    benchmark:
        "results/{run}/benchmarks/score/{model}.{backend}.{trials}.tsv"
    wildcard_constraints:
        backend=named(kind_of("backends", "cosine") + kind_of("backends", "plda")),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        options=scoring_options,
        files=scoring_files,
        share=config["data"]["max_rejected"],
        code=stage_code("score"),
    message:
        "Scoring {wildcards.trials} with {wildcards.model} and {wildcards.backend}"
    shell:
        "spkdistill score {params.files} {params.options} --embeddings {input.scp}"
        " --trials {input.trials} --max-rejected {params.share}"
        " --output {output.scores} --rejected {output.rejected} > {log} 2>&1"


rule calibrate:
    input:
        scores=lambda w: fused_scores(w, config["backends"][w.backend]["trials"]),
        trials=lambda w: prepared_list(config["backends"][w.backend]["trials"]),
    output:
        "results/{run}/backends/{model}/{backend}/fusion.json",
    log:
        "results/{run}/logs/calibrate/{model}.{backend}.log",
    benchmark:
        "results/{run}/benchmarks/calibrate/{model}.{backend}.tsv"
    wildcard_constraints:
        backend=named(kind_of("backends", "fusion")),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        systems=named_systems,
        prior=lambda w: config["backends"][w.backend]["prior"],
        share=config["data"]["max_rejected"],
        code=stage_code("calibrate"),
    message:
        "Calibrating {wildcards.backend} of {wildcards.model}"
    shell:
        "spkdistill calibrate --scores {params.systems} --trials {input.trials} --prior {params.prior}"
        " --max-rejected {params.share} --output {output} > {log} 2>&1"


rule fuse:
    input:
        fusion="results/{run}/backends/{model}/{backend}/fusion.json",
        scores=lambda w: fused_scores(w, w.trials),
        trials=trial_list,
    output:
        scores="results/{run}/scores/{model}/{backend}/{trials}/scores",
        rejected="results/{run}/scores/{model}/{backend}/{trials}/rejected.tsv",
    log:
        "results/{run}/logs/score/{model}.{backend}.{trials}.log",
    benchmark:
        "results/{run}/benchmarks/score/{model}.{backend}.{trials}.tsv"
    wildcard_constraints:
        backend=named(kind_of("backends", "fusion")),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        systems=named_systems,
        share=config["data"]["max_rejected"],
        code=stage_code("fuse"),
    message:
        "Scoring {wildcards.trials} with {wildcards.model} and {wildcards.backend}"
    shell:
        "spkdistill fuse --fusion {input.fusion} --scores {params.systems} --trials {input.trials}"
        " --max-rejected {params.share} --output {output.scores} --rejected {output.rejected} > {log} 2>&1"


rule scores:
    input:
        artifacts(rules.score, model=MODELS, backend=config["backends"], trials=MEASURED),
        artifacts(rules.calibrate, model=MODELS, backend=kind_of("backends", "fusion")),
    message:
        "The scores are there"
