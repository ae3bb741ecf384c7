"""Teachers, trained here or made elsewhere, and the aggregators that pool frame layers."""


rule teacher:
    input:
        views="results/{run}/views/train/views.tsv",
        speakers="results/{run}/views/train/speakers",
        features=lambda w: voiced(config["teachers"][w.teacher]["features"], "train"),
        arks=lambda w: voiced_arks(config["teachers"][w.teacher]["features"], "train"),
    output:
        model="results/{run}/teachers/{teacher}/model.safetensors",
        config="results/{run}/teachers/{teacher}/config.json",
        log="results/{run}/teachers/{teacher}/log.tsv",
    log:
        "results/{run}/logs/teacher/{teacher}.log",
    benchmark:
        "results/{run}/benchmarks/teacher/{teacher}.tsv"
    wildcard_constraints:
        teacher=named(TRAINED),
    conda:
        "../../envs/spkdistill.yaml"
    threads: lambda w: cores(config["teachers"][w.teacher]["training"])
    params:
        settings=lambda w: as_json(model_settings(w.teacher)),
        features=lambda w: as_json(config["features"][config["teachers"][w.teacher]["features"]]),
        seed=config["seed"],
        work="results/{run}/work/teacher/{teacher}",
        code=stage_code("train"),
    message:
        "Training the teacher {wildcards.teacher}"
    shell:
        "spkdistill train --name {wildcards.teacher} --settings {params.settings:q}"
        " --feature-settings {params.features:q} --views {input.views} --speakers {input.speakers}"
        " --features {input.features} --seed {params.seed} --work {params.work}"
        " --model {output.model} --config {output.config} --log {output.log} > {log} 2>&1"


rule adopt:
    input:
        lambda w: local(config["teachers"][w.teacher]["file"]),
    output:
        model="results/{run}/teachers/{teacher}/model.onnx",
        config="results/{run}/teachers/{teacher}/config.json",
    log:
        "results/{run}/logs/adopt/{teacher}.log",
    benchmark:
        "results/{run}/benchmarks/adopt/{teacher}.tsv"
    wildcard_constraints:
        teacher=named(name for name in FOREIGN if network_file(name).endswith(".onnx")),
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=lambda w: as_json(model_settings(w.teacher)),
        features=lambda w: as_json(config["features"][config["teachers"][w.teacher]["features"]]),
        trust=lambda w: trust_option(w.teacher),
        code=stage_code("adopt"),
    message:
        "Adopting the teacher {wildcards.teacher}"
    shell:
        "spkdistill adopt --file {input:q} --settings {params.settings:q} --feature-settings {params.features:q}"
        " {params.trust} --threads {threads} --model {output.model} --config {output.config} > {log} 2>&1"


use rule adopt as adopt_torchscript with:
    output:
        model="results/{run}/teachers/{teacher}/model.pt",
        config="results/{run}/teachers/{teacher}/config.json",
    wildcard_constraints:
        teacher=named(name for name in FOREIGN if network_file(name).endswith(".pt")),


rule aggregators:
    input:
        model="results/{run}/teachers/{teacher}/model.safetensors",
        config="results/{run}/teachers/{teacher}/config.json",
        views="results/{run}/views/train/views.tsv",
        speakers="results/{run}/views/train/speakers",
        features=lambda w: voiced(config["teachers"][w.teacher]["features"], "train"),
        arks=lambda w: voiced_arks(config["teachers"][w.teacher]["features"], "train"),
    output:
        model="results/{run}/teachers/{teacher}/aggregators.safetensors",
        config="results/{run}/teachers/{teacher}/aggregators.json",
        log="results/{run}/teachers/{teacher}/aggregators_log.tsv",
    log:
        "results/{run}/logs/aggregators/{teacher}.log",
    benchmark:
        "results/{run}/benchmarks/aggregators/{teacher}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    threads: lambda w: cores(config["teachers"][w.teacher]["aggregators"]["training"])
    params:
        settings=lambda w: as_json(config["teachers"][w.teacher]["aggregators"]),
        seed=config["seed"],
        work="results/{run}/work/aggregators/{teacher}",
        code=stage_code("aggregators"),
    message:
        "Training the aggregators of {wildcards.teacher}"
    shell:
        "spkdistill aggregators --teacher {input.model} --teacher-config {input.config}"
        " --settings {params.settings:q} --views {input.views} --speakers {input.speakers}"
        " --features {input.features} --seed {params.seed} --work {params.work}"
        " --model {output.model} --config {output.config} --log {output.log} > {log} 2>&1"


rule teachers:
    input:
        artifacts(rules.teacher, teacher=TRAINED),
        [model_file(teacher, "config.json") for teacher in FOREIGN],
        map(network_file, FOREIGN),
        artifacts(rules.aggregators, teacher=with_aggregators()),
    message:
        "The teachers are there"
