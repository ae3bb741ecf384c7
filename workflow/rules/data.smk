"""Kaldi data directories and trial lists: synthesised, or checked copies of somebody else's."""


rule synthesise:
    output:
        ark="results/{run}/data/{set}/wav.{job}.ark",
        scp="results/{run}/data/{set}/wav.{job}.scp",
        headers="results/{run}/data/{set}/headers.{job}.tsv",
    log:
        "results/{run}/logs/synthesise/{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/synthesise/{set}.{job}.tsv"
    wildcard_constraints:
        set=named(name for name in config["sets"] if is_synthetic(name)),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: corpus_settings(w.set, trials={}),
        seed=config["seed"],
        jobs=config["shards"],
        code=stage_code("synthesise"),
    message:
        "Synthesising speech for {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill synthesise --settings {params.settings:q} --seed {params.seed}"
        " --job {wildcards.job} --jobs {params.jobs}"
        " --ark {output.ark} --scp {output.scp} --headers {output.headers} > {log} 2>&1"


rule inspect:
    input:
        data=corpus_files,
        audio=lambda w: audio_arks(w.set),
    output:
        "results/{run}/data/{set}/headers.{job}.tsv",
    log:
        "results/{run}/logs/inspect/{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/inspect/{set}.{job}.tsv"
    wildcard_constraints:
        set=named(name for name in config["sets"] if not is_synthetic(name)),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: corpus_settings(w.set, trials={}),
        allowed=allowed_options,
        jobs=config["shards"],
        code=stage_code("inspect"),
    message:
        "Reading the headers of {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill inspect --settings {params.settings:q} --job {wildcards.job} --jobs {params.jobs}"
        " {params.allowed} --output {output} > {log} 2>&1"


# A rule for each set, because each has trial lists of its own.
for name, settings in config["sets"].items():

    rule:
        name:
            f"prepare_{name}"
        input:
            scps=(
                of_run("results/{run}/data/{set}/wav.{job}.scp", set=name, job=JOBS)
                if is_synthetic(name)
                else []
            ),
            headers=of_run("results/{run}/data/{set}/headers.{job}.tsv", set=name, job=JOBS),
            source=source_files(name),
        output:
            data_files(name),
            trials=of_run(
                "results/{run}/data/{set}/{file}",
                set=name,
                file=settings.get("trials", []),
            ),
            models=of_run(
                "results/{run}/data/{set}/{file}.enrol",
                set=name,
                file=[trials for trials in settings["trials"] if enrols_models(name, trials)],
            ),
        log:
            *of_run("results/{run}/logs/prepare/{set}.log", set=name),
        benchmark:
            of_run("results/{run}/benchmarks/prepare/{set}.tsv", set=name)[0]
        conda:
            "../../envs/spkdistill.yaml"
        params:
            settings=corpus_settings(name),
            directory=lambda w, output: Path(output[0]).parent,
            wav_scp="--wav-scp" if is_synthetic(name) else "",
            speeds=speed_options(name),
            pipes="--allow-pipes" if config["data"]["allow_pipes"] else "",
            share=config["data"]["max_rejected"],
            seed=config["seed"],
            code=stage_code("prepare"),
        message:
            f"Preparing the data directory of {name}"
        shell:
            "spkdistill prepare --settings {params.settings:q} --seed {params.seed} --max-rejected {params.share}"
            " {params.speeds} {params.pipes} {params.wav_scp} {input.scps} --headers {input.headers} --output-dir {params.directory} > {log} 2>&1"


rule data:
    input:
        artifacts(rules.synthesise, set=filter(is_synthetic, config["sets"])),
        artifacts(rules.inspect, set=[name for name in config["sets"] if not is_synthetic(name)]),
        *(artifacts(getattr(rules, f"prepare_{name}")) for name in config["sets"]),
    message:
        "The data directories and trial lists are there"
