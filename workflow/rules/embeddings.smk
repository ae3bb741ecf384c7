"""Embeddings of whole utterances, of teachers and students alike."""


rule embed:
    input:
        model=lambda w: network_file(w.model),
        config=lambda w: model_file(w.model, "config.json"),
        scp=lambda w: f"results/{w.run}/feats/{MODELS[w.model]['features']}/{w.set}/voiced.{w.job}.scp",
        ark=lambda w: f"results/{w.run}/feats/{MODELS[w.model]['features']}/{w.set}/voiced.{w.job}.ark",
    output:
        ark="results/{run}/embeddings/{model}/{set}/xvector.{job}.ark",
        scp="results/{run}/embeddings/{model}/{set}/xvector.{job}.scp",
    log:
        "results/{run}/logs/embed/{model}.{set}.{job}.log",
    benchmark:
        "results/{run}/benchmarks/embed/{model}.{set}.{job}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        trust=lambda w: trust_option(w.model),
        code=stage_code("embed"),
    message:
        "Embedding {wildcards.set} with {wildcards.model}, shard {wildcards.job}"
    shell:
        "spkdistill embed --model {input.model} --config {input.config} --features {input.scp}"
        " --threads {threads} {params.trust} --ark {output.ark} --scp {output.scp} > {log} 2>&1"


rule merge_embeddings:
    input:
        parts=shards("results/{run}/embeddings/{model}/{set}/xvector.{job}.scp"),
        arks=shards("results/{run}/embeddings/{model}/{set}/xvector.{job}.ark"),
        expected=lambda w: voiced(MODELS[w.model]["features"], w.set),
    output:
        scp="results/{run}/embeddings/{model}/{set}/xvector.scp",
        manifest="results/{run}/embeddings/{model}/{set}/xvector.json",
    log:
        "results/{run}/logs/merge/xvector.{model}.{set}.log",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        code=stage_code("merge"),
    message:
        "Merging the index of {wildcards.model} embeddings of {wildcards.set}"
    shell:
        "spkdistill merge --stage embed --parts {input.parts} --expected {input.expected}"
        " --manifest {output.manifest} --output {output.scp} > {log} 2>&1"


# A cohort for score normalisation; Kaldi's spk_xvector.scp and num_utts.ark.
rule speaker_means:
    input:
        scp="results/{run}/embeddings/{model}/{set}/xvector.scp",
        arks=shards("results/{run}/embeddings/{model}/{set}/xvector.{job}.ark"),
        spk2utt="results/{run}/data/{set}/spk2utt",
    output:
        ark="results/{run}/embeddings/{model}/{set}/speakers_{utterances}.ark",
        scp="results/{run}/embeddings/{model}/{set}/speakers_{utterances}.scp",
        num_utts="results/{run}/embeddings/{model}/{set}/num_utts_{utterances}",
    log:
        "results/{run}/logs/speaker_means/{model}.{set}.{utterances}.log",
    benchmark:
        "results/{run}/benchmarks/speaker_means/{model}.{set}.{utterances}.tsv"
    wildcard_constraints:
        utterances=r"all|\d+",
    conda:
        "../../envs/spkdistill.yaml"
    params:
        share=config["data"]["max_rejected"],
        utterances=at_most_option,
        code=stage_code("speaker-means"),
    message:
        "Averaging the embeddings of each speaker of {wildcards.set} by {wildcards.model}"
    shell:
        "spkdistill speaker-means --embeddings {input.scp} --spk2utt {input.spk2utt} --max-rejected {params.share}"
        " {params.utterances} --ark {output.ark} --scp {output.scp} --num-utts {output.num_utts} > {log} 2>&1"


rule embeddings:
    input:
        artifacts(rules.embed, rules.merge_embeddings, model=MODELS, set=config["sets"]),
        [path for model in MODELS for settings in cohort_backends() for path in cohort_of(model, settings)],
    message:
        "The embeddings are there"
