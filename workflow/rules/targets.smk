"""The cache: a teacher's embeddings and logits for every view, dumped once."""


# All embeddings at once, where a teacher's `targets` list all that have a name. Logits are not among them: in another
# form, or at other temperatures, they make no embedding anew.
rule dump:
    input:
        model=lambda w: network_file(w.teacher),
        config="results/{run}/teachers/{teacher}/config.json",
        aggregators=aggregator_files,
        views="results/{run}/views/{set}/views.tsv",
        features=lambda w: voiced(config["teachers"][w.teacher]["features"], w.set),
        arks=lambda w: voiced_arks(config["teachers"][w.teacher]["features"], w.set),
    output:
        arks=expand(
            "results/{run}/targets/{teacher}/{set}/{part}.{job}.ark",
            part=EMBEDDINGS,
            allow_missing=True,
        ),
        scps=expand(
            "results/{run}/targets/{teacher}/{set}/{part}.{job}.scp",
            part=EMBEDDINGS,
            allow_missing=True,
        ),
        rounding=expand(
            "results/{run}/targets/{teacher}/{set}/{part}.{job}.json",
            part=EMBEDDINGS,
            allow_missing=True,
        ),
    log:
        "results/{run}/logs/dump/{teacher}.{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/dump/{teacher}.{set}.{job}.tsv"
    wildcard_constraints:
        teacher=named(with_every_embedding()),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        aggregators=lambda w, input: options(["aggregators", "aggregators-config"], input.aggregators),
        targets_of=unit_option,
        storage=lambda w: config["teachers"][w.teacher]["target_storage"],
        top=top_options,
        trust=lambda w: trust_option(w.teacher),
        parts=part_options,
        jobs=config["shards"],
        code=stage_code("dump"),
    message:
        "Dumping the targets of {wildcards.teacher} for {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill dump --model {input.model} --config {input.config} {params.aggregators} --views {input.views}"
        " --features {input.features} --targets-of {params.targets_of} --storage {params.storage} --threads {threads}"
        " {params.top} {params.trust} --job {wildcards.job} --jobs {params.jobs} --parts {params.parts} > {log} 2>&1"


# Any other part by itself: what one more student learns makes no part anew that others have learnt from.
use rule dump as dump_part with:
    output:
        arks=["results/{run}/targets/{teacher}/{set}/{unit}{part}.{job}.ark"],
        scps=["results/{run}/targets/{teacher}/{set}/{unit}{part}.{job}.scp"],
        rounding=["results/{run}/targets/{teacher}/{set}/{unit}{part}.{job}.json"],
    log:
        "results/{run}/logs/dump/{unit}{part}.{teacher}.{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/dump/{unit}{part}.{teacher}.{set}.{job}.tsv"
    wildcard_constraints:
        teacher=named(config["teachers"]),
    message:
        "Dumping {wildcards.unit}{wildcards.part} of {wildcards.teacher} for {wildcards.set}, shard {wildcards.job}"


ruleorder: dump > dump_part


# The factored form of the logits: with the embeddings it makes them, and its manifest says how closely.
rule head:
    input:
        model=lambda w: network_file(w.teacher),
        config="results/{run}/teachers/{teacher}/config.json",
        views="results/{run}/views/{set}/views.tsv",
        features=lambda w: voiced(config["teachers"][w.teacher]["features"], w.set),
        arks=lambda w: voiced_arks(config["teachers"][w.teacher]["features"], w.set),
        embeddings="results/{run}/targets/{teacher}/{set}/xvector.scp",
        embedding_arks=shards("results/{run}/targets/{teacher}/{set}/xvector.{job}.ark"),
    output:
        head="results/{run}/targets/{teacher}/{set}/head.safetensors",
        manifest="results/{run}/targets/{teacher}/{set}/head.json",
    log:
        "results/{run}/logs/head/{teacher}.{set}.log",
    benchmark:
        "results/{run}/benchmarks/head/{teacher}.{set}.tsv"
    wildcard_constraints:
        teacher=named(TRAINED),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        code=stage_code("head"),
    message:
        "Keeping the head of {wildcards.teacher} beside its embeddings for {wildcards.set}"
    shell:
        "spkdistill head --model {input.model} --config {input.config} --views {input.views}"
        " --features {input.features} --embeddings {input.embeddings}"
        " --threads {threads} --head {output.head} --manifest {output.manifest} > {log} 2>&1"


rule merge_targets:
    input:
        parts=shards("results/{run}/targets/{teacher}/{set}/{unit}{part}.{job}.scp"),
        arks=shards("results/{run}/targets/{teacher}/{set}/{unit}{part}.{job}.ark"),
        rounding=shards("results/{run}/targets/{teacher}/{set}/{unit}{part}.{job}.json"),
        wanted=target_keys,
    output:
        scp="results/{run}/targets/{teacher}/{set}/{unit}{part}.scp",
        manifest="results/{run}/targets/{teacher}/{set}/{unit}{part}.json",
    log:
        "results/{run}/logs/merge/{unit}{part}.{teacher}.{set}.log",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        wanted=lambda w, input: options(["expected", "rejected"], input.wanted),
        code=stage_code("merge"),
    message:
        "Merging the index of {wildcards.unit}{wildcards.part} targets of {wildcards.teacher}"
    shell:
        "spkdistill merge --stage dump --parts {input.parts} {params.wanted} --rounding {input.rounding}"
        " --manifest {output.manifest} --output {output.scp} > {log} 2>&1"


rule targets:
    input:
        [
            artifacts(
                rules.dump_part,
                rules.merge_targets,
                teacher=teacher,
                set="train",
                unit=unit,
                part=map(file_name, parts.stored(config, teacher, cached_parts(teacher, unit))),
            )
            for teacher in config["teachers"]
            for unit in UNITS
        ],
        artifacts(rules.head, teacher=with_head(), set="train"),
    message:
        "The targets are there"
