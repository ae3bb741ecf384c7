"""Back-ends, trained on the training set's embeddings and kept as Kaldi files; fusions are trained in scores.smk."""


rule cosine_backend:
    input:
        scp="results/{run}/embeddings/{model}/train/xvector.scp",
        arks=shards("results/{run}/embeddings/{model}/train/xvector.{job}.ark"),
        utt2spk="results/{run}/data/train/utt2spk",
        adapt=adapt_files,
    output:
        mean="results/{run}/backends/{model}/{backend}/mean.vec",
    log:
        "results/{run}/logs/backend/{model}.{backend}.log",
    benchmark:
        "results/{run}/benchmarks/backend/{model}.{backend}.tsv"
    wildcard_constraints:
        backend=named(kind_of("backends", "cosine")),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=training_settings,
        adapt=adapt_option,
        code=stage_code("backend"),
    message:
        "Training the back-end {wildcards.backend} of {wildcards.model}"
    shell:
        "spkdistill backend --embeddings {input.scp} --utt2spk {input.utt2spk} {params.adapt}"
        " --settings {params.settings:q} --mean {output.mean} > {log} 2>&1"


rule plda_backend:
    input:
        scp="results/{run}/embeddings/{model}/train/xvector.scp",
        arks=shards("results/{run}/embeddings/{model}/train/xvector.{job}.ark"),
        utt2spk="results/{run}/data/train/utt2spk",
        adapt=adapt_files,
    output:
        mean="results/{run}/backends/{model}/{backend}/mean.vec",
        transform="results/{run}/backends/{model}/{backend}/transform.mat",
        plda="results/{run}/backends/{model}/{backend}/plda",
    log:
        "results/{run}/logs/backend/{model}.{backend}.log",
    benchmark:
        "results/{run}/benchmarks/backend/{model}.{backend}.tsv"
    wildcard_constraints:
        backend=named(kind_of("backends", "plda")),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=training_settings,
        adapt=adapt_option,
        code=stage_code("backend"),
    message:
        "Training the back-end {wildcards.backend} of {wildcards.model}"
    shell:
        "spkdistill backend --embeddings {input.scp} --utt2spk {input.utt2spk} {params.adapt}"
        " --settings {params.settings:q} --mean {output.mean} --transform {output.transform} --plda {output.plda}"
        " > {log} 2>&1"


rule backends:
    input:
        artifacts(rules.cosine_backend, model=MODELS, backend=kind_of("backends", "cosine")),
        artifacts(rules.plda_backend, model=MODELS, backend=kind_of("backends", "plda")),
    message:
        "The back-ends are there"
