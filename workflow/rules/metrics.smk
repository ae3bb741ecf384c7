"""Error rates with intervals from resampled speakers, and paired differences between models."""


rule metrics:
    input:
        scores="results/{run}/scores/{model}/{backend}/{trials}/scores",
        trials=trial_list,
        models=model_files,
        utt2spk=lambda w: f"results/{w.run}/data/{config['trials'][w.trials]['set']}/utt2spk",
        conditions=condition_files,
    output:
        "results/{run}/metrics/{model}/{backend}/{trials}.json",
    log:
        "results/{run}/logs/metrics/{model}.{backend}.{trials}.log",
    benchmark:
        "results/{run}/benchmarks/metrics/{model}.{backend}.{trials}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=as_json(config["metrics"]),
        conditions=lambda w, input: [f"--{Path(path).name} {path}" for path in input.conditions],
        seed=config["seed"],
        models=lambda w, input: options(["enrol-spk2utt"], input.models),
        code=stage_code("metrics"),
    message:
        "Measuring {wildcards.model} with {wildcards.backend} on {wildcards.trials}"
    shell:
        "spkdistill metrics --scores {input.scores} --trials {input.trials} --utt2spk {input.utt2spk}"
        " {params.models} {params.conditions} --settings {params.settings:q} --seed {params.seed} --output {output} > {log} 2>&1"


rule paired:
    input:
        scores=compared_scores,
        trials=trial_list,
        models=model_files,
        utt2spk=lambda w: f"results/{w.run}/data/{config['trials'][w.trials]['set']}/utt2spk",
    output:
        "results/{run}/metrics/paired/{compared}/{trials}.tsv",
    log:
        "results/{run}/logs/paired/{compared}.{trials}.log",
    benchmark:
        "results/{run}/benchmarks/paired/{compared}.{trials}.tsv"
    wildcard_constraints:
        compared=named(
            [*config["backends"], ACROSS, *with_reference(config["experiments"])]
            + [f"{name}/{STUDENTS}/{shown.figures_backend(config, name)}" for name in config["experiments"]]
        ),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        pairs=pair_options,
        settings=as_json(config["metrics"]),
        seed=config["seed"],
        models=lambda w, input: options(["enrol-spk2utt"], input.models),
        code=stage_code("paired"),
    message:
        "Comparing systems ({wildcards.compared}) on {wildcards.trials}"
    shell:
        "spkdistill paired {params.pairs} --name {wildcards.trials} --trials {input.trials} --utt2spk {input.utt2spk}"
        " {params.models} --settings {params.settings:q} --seed {params.seed} --output {output} > {log} 2>&1"
