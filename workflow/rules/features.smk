"""Features as Kaldi archives: raw, voice activity, then mean-normalised voiced frames, a shard at a time."""


rule features:
    input:
        data=utterance_files,
        audio=lambda w: audio_arks(w.set),
    output:
        ark="results/{run}/feats/{features}/{set}/raw.{job}.ark",
        scp="results/{run}/feats/{features}/{set}/raw.{job}.scp",
        rejected="results/{run}/feats/{features}/{set}/rejected.{job}.tsv",
    log:
        "results/{run}/logs/features/{features}.{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/features/{features}.{set}.{job}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: feature_settings(w.features, w.set),
        directory=lambda w, input: Path(input.data[0]).parent,
        pipes="--allow-pipes" if config["data"]["allow_pipes"] else "",
        seed=config["seed"],
        jobs=config["shards"],
        code=stage_code("features"),
    message:
        "Extracting {wildcards.features} features of {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill features --data {params.directory} --settings {params.settings:q} --seed {params.seed}"
        " --job {wildcards.job} --jobs {params.jobs} {params.pipes}"
        " --ark {output.ark} --scp {output.scp} --rejected {output.rejected} > {log} 2>&1"


rule vad:
    input:
        scp=lambda w: f"results/{w.run}/feats/{config['vad']['features']}/{w.set}/raw.{w.job}.scp",
        ark=lambda w: f"results/{w.run}/feats/{config['vad']['features']}/{w.set}/raw.{w.job}.ark",
    output:
        ark="results/{run}/vad/{set}/vad.{job}.ark",
        scp="results/{run}/vad/{set}/vad.{job}.scp",
    log:
        "results/{run}/logs/vad/{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/vad/{set}.{job}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=as_json(vad_settings()),
        features=lambda w: feature_settings(config["vad"]["features"], w.set),
        code=stage_code("vad"),
    message:
        "Finding the speech of {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill vad --raw {input.scp} --features {params.features:q} --settings {params.settings:q}"
        " --ark {output.ark} --scp {output.scp} > {log} 2>&1"


rule normalise:
    input:
        scp="results/{run}/feats/{features}/{set}/raw.{job}.scp",
        ark="results/{run}/feats/{features}/{set}/raw.{job}.ark",
        vad="results/{run}/vad/{set}/vad.{job}.scp",
        vad_ark="results/{run}/vad/{set}/vad.{job}.ark",
    output:
        ark="results/{run}/feats/{features}/{set}/voiced.{job}.ark",
        scp="results/{run}/feats/{features}/{set}/voiced.{job}.scp",
        num_frames="results/{run}/feats/{features}/{set}/utt2num_frames.{job}",
        rejected="results/{run}/feats/{features}/{set}/voiced_rejected.{job}.tsv",
    log:
        "results/{run}/logs/normalise/{features}.{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/normalise/{features}.{set}.{job}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: as_json(config["features"][w.features]["cmn"]),
        compression=lambda w: config["features"][w.features]["compression"],
        code=stage_code("normalise"),
    message:
        "Normalising the voiced {wildcards.features} frames of {wildcards.set}, shard {wildcards.job}"
    shell:
        "spkdistill normalise --raw {input.scp} --vad {input.vad} --settings {params.settings:q}"
        " --compression {params.compression} --ark {output.ark} --scp {output.scp}"
        " --num-frames {output.num_frames} --rejected {output.rejected} > {log} 2>&1"


rule merge_features:
    input:
        parts=shards("results/{run}/feats/{features}/{set}/raw.{job}.scp"),
        arks=shards("results/{run}/feats/{features}/{set}/raw.{job}.ark"),
        rejected=shards("results/{run}/feats/{features}/{set}/rejected.{job}.tsv"),
        expected="results/{run}/data/{set}/utt2spk",
    output:
        scp="results/{run}/feats/{features}/{set}/raw.scp",
        rejected="results/{run}/feats/{features}/{set}/rejected.tsv",
        manifest="results/{run}/feats/{features}/{set}/raw.json",
    log:
        "results/{run}/logs/merge/raw.{features}.{set}.log",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        share=config["data"]["max_rejected"],
        code=stage_code("merge"),
    message:
        "Merging the index of {wildcards.features} features of {wildcards.set}"
    shell:
        "spkdistill merge --stage features --parts {input.parts} --expected {input.expected}"
        " --rejected {input.rejected} --rejected-output {output.rejected} --max-rejected {params.share}"
        " --manifest {output.manifest} --output {output.scp} > {log} 2>&1"


rule merge_vad:
    input:
        parts=shards("results/{run}/vad/{set}/vad.{job}.scp"),
        arks=shards("results/{run}/vad/{set}/vad.{job}.ark"),
        expected=lambda w: raw(config["vad"]["features"], w.set),
    output:
        scp="results/{run}/vad/{set}/vad.scp",
        manifest="results/{run}/vad/{set}/vad.json",
    log:
        "results/{run}/logs/merge/vad.{set}.log",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        code=stage_code("merge"),
    message:
        "Merging the index of voice activity of {wildcards.set}"
    shell:
        "spkdistill merge --stage vad --parts {input.parts} --expected {input.expected}"
        " --manifest {output.manifest} --output {output.scp} > {log} 2>&1"


rule merge_voiced:
    input:
        parts=shards("results/{run}/feats/{features}/{set}/voiced.{job}.scp"),
        arks=shards("results/{run}/feats/{features}/{set}/voiced.{job}.ark"),
        num_frames=shards("results/{run}/feats/{features}/{set}/utt2num_frames.{job}"),
        rejected=shards("results/{run}/feats/{features}/{set}/voiced_rejected.{job}.tsv"),
        expected="results/{run}/feats/{features}/{set}/raw.scp",
    output:
        scp="results/{run}/feats/{features}/{set}/voiced.scp",
        num_frames="results/{run}/feats/{features}/{set}/utt2num_frames",
        rejected="results/{run}/feats/{features}/{set}/voiced_rejected.tsv",
        manifest="results/{run}/feats/{features}/{set}/voiced.json",
    log:
        "results/{run}/logs/merge/voiced.{features}.{set}.log",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        share=config["data"]["max_rejected"],
        code=stage_code("merge"),
    message:
        "Merging the index of voiced {wildcards.features} frames of {wildcards.set}"
    shell:
        "(spkdistill merge --stage normalise --parts {input.parts} --expected {input.expected}"
        " --rejected {input.rejected} --rejected-output {output.rejected} --max-rejected {params.share}"
        " --manifest {output.manifest} --output {output.scp}"
        " && spkdistill merge --parts {input.num_frames} --expected {output.scp} --output {output.num_frames})"
        " > {log} 2>&1"


rule feats:
    input:
        artifacts(
            *(
                rules.features,
                rules.merge_features,
                rules.normalise,
                rules.merge_voiced,
            ),
            features=used_features(),
            set=config["sets"],
        ),
        artifacts(rules.vad, rules.merge_vad, set=config["sets"]),
    message:
        "The features are there"
