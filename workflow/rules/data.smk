"""Kaldi data directories and trial lists: synthesised, or checked copies of somebody else's."""


rule synthesise:
    output:
        ark="results/{run}/data/{set}/wav.{job}.ark",
        scp="results/{run}/data/{set}/wav.{job}.scp",
    log:
        "results/{run}/logs/synthesise/{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/synthesise/{set}.{job}.tsv"
    wildcard_constraints:
        set=named(name for name in config["sets"] if is_synthetic(name)),
    resources:
        runtime=60,
    params:
        settings=lambda w: as_json(config["sets"][w.set]),
        seed=config["seed"],
        jobs=config["shards"],
        code=code_hash("data.corpora.synthetic"),
    conda:
        "../../envs/spkdistill.yaml"
    message:
        "Synthesising speech for {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill synthesise --settings {params.settings:q} --seed {params.seed}"
        " --job {wildcards.job} --jobs {params.jobs} --ark {output.ark} --scp {output.scp} > {log} 2>&1"
