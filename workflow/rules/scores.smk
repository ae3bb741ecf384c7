"""Scores of the trial lists, by every model and back-end; those of a fusion are sums of other back-ends' scores."""


# One job scores a list, unless it has shards: then `scores.1`, `scores.2`, ... are put together.
ruleorder: merge_scores > score


rule score:
    input:
        backend=backend_files,
        scp=lambda w: embedding_files(w.model, config["trials"][w.trials]["set"], "xvector.scp"),
        arks=lambda w: embedding_files(w.model, config["trials"][w.trials]["set"], "xvector.{job}.ark"),
        cohort=cohort_files,
        trials=trial_list,
        models=model_files,
    output:
        scores="results/{run}/scores/{model}/{backend}/{trials}/scores{shard}",
        rejected="results/{run}/scores/{model}/{backend}/{trials}/rejected{shard}.tsv",
    log:
        "results/{run}/logs/score/{model}.{backend}.{trials}{shard}.log",
    benchmark:
        "results/{run}/benchmarks/score/{model}.{backend}.{trials}{shard}.tsv"
    wildcard_constraints:
        backend=named(kind_of("backends", "cosine") + kind_of("backends", "plda")),
        shard=r"(\.\d+)?",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        options=scoring_options,
        files=scoring_files,
        shard=shard_options,
        share=config["data"]["max_rejected"],
        code=stage_code("score"),
    message:
        "Scoring {wildcards.trials}{wildcards.shard} with {wildcards.model} and {wildcards.backend}"
    shell:
        "spkdistill score {params.files} {params.options} {params.shard} --embeddings {input.scp}"
        " --trials {input.trials} --max-rejected {params.share}"
        " --output {output.scores} --rejected {output.rejected} > {log} 2>&1"


rule merge_scores:
    input:
        scores=lambda w: score_shards(w, "scores.{job}"),
        rejected=lambda w: score_shards(w, "rejected.{job}.tsv"),
    output:
        scores="results/{run}/scores/{model}/{backend}/{trials}/scores",
        rejected="results/{run}/scores/{model}/{backend}/{trials}/rejected.tsv",
    log:
        "results/{run}/logs/merge/scores.{model}.{backend}.{trials}.log",
    wildcard_constraints:
        backend=named(kind_of("backends", "cosine") + kind_of("backends", "plda")),
        trials=named(name for name, settings in config["trials"].items() if settings["shards"] > 1),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        code=stage_code("merge-scores"),
    message:
        "Merging the scores of {wildcards.trials} with {wildcards.model} and {wildcards.backend}"
    shell:
        "spkdistill merge-scores --scores-parts {input.scores} --rejected-parts {input.rejected}"
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
        artifacts(rules.score, model=MODELS, backend=config["backends"], trials=MEASURED, shard=""),
        artifacts(rules.calibrate, model=MODELS, backend=kind_of("backends", "fusion")),
    message:
        "The scores are there"
