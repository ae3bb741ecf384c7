"""The cache: a teacher's embeddings and logits for every view, dumped once."""


rule dump:
    input:
        model="results/{run}/teachers/{teacher}/model.safetensors",
        config="results/{run}/teachers/{teacher}/config.json",
        aggregators="results/{run}/teachers/{teacher}/aggregators.safetensors",
        aggregators_config="results/{run}/teachers/{teacher}/aggregators.json",
        views="results/{run}/views/{set}/views.tsv",
        features=lambda w: voiced(config["teachers"][w.teacher]["features"], w.set),
        arks=lambda w: voiced_arks(config["teachers"][w.teacher]["features"], w.set),
    output:
        arks=expand(
            "results/{run}/targets/{teacher}/{set}/{part}.{job}.ark",
            part=PARTS,
            allow_missing=True,
        ),
        scps=expand(
            "results/{run}/targets/{teacher}/{set}/{part}.{job}.scp",
            part=PARTS,
            allow_missing=True,
        ),
    log:
        "results/{run}/logs/dump/{teacher}.{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/dump/{teacher}.{set}.{job}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        parts=lambda w, output: [
            f"{part}={ark},{scp}" for part, ark, scp in zip(PARTS, output.arks, output.scps)
        ],
        jobs=config["shards"],
        code=stage_code("dump"),
    message:
        "Dumping the targets of {wildcards.teacher} for {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill dump --model {input.model} --config {input.config} --aggregators {input.aggregators}"
        " --aggregators-config {input.aggregators_config} --views {input.views} --features {input.features}"
        " --threads {threads} --job {wildcards.job} --jobs {params.jobs} --parts {params.parts} > {log} 2>&1"


rule merge_targets:
    input:
        parts=shards("results/{run}/targets/{teacher}/{set}/{part}.{job}.scp"),
        arks=shards("results/{run}/targets/{teacher}/{set}/{part}.{job}.ark"),
        expected="results/{run}/views/{set}/views.tsv",
    output:
        scp="results/{run}/targets/{teacher}/{set}/{part}.scp",
        manifest="results/{run}/targets/{teacher}/{set}/{part}.json",
    log:
        "results/{run}/logs/merge/{part}.{teacher}.{set}.log",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        code=stage_code("merge"),
    message:
        "Merging the index of {wildcards.part} targets of {wildcards.teacher}"
    shell:
        "spkdistill merge --stage dump --parts {input.parts} --expected {input.expected}"
        " --manifest {output.manifest} --output {output.scp} > {log} 2>&1"


rule targets:
    input:
        artifacts(
            rules.dump,
            rules.merge_targets,
            teacher=config["teachers"],
            set="train",
            part=PARTS,
        ),
    message:
        "The targets are there"
