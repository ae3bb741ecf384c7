"""Students, distilled from the cache: no teacher is in memory from here on."""


rule student:
    input:
        views="results/{run}/views/train/views.tsv",
        speakers="results/{run}/views/train/speakers",
        features=lambda w: voiced(config["students"][w.student]["features"], "train"),
        arks=lambda w: voiced_arks(config["students"][w.student]["features"], "train"),
        targets=lambda w: target_files(w.student, "{part}.scp"),
        target_arks=lambda w: target_files(w.student, "{part}.{job}.ark"),
        head=lambda w: head_files(w.student),
    output:
        model="results/{run}/students/{student}/model.safetensors",
        config="results/{run}/students/{student}/config.json",
        log="results/{run}/students/{student}/log.tsv",
    log:
        "results/{run}/logs/student/{student}.log",
    benchmark:
        "results/{run}/benchmarks/student/{student}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    threads: lambda w: cores(config["students"][w.student]["training"])
    params:
        settings=lambda w: as_json(model_settings(w.student)),
        features=lambda w: as_json(config["features"][config["students"][w.student]["features"]]),
        targets=target_options,
        seed=lambda w: config["students"][w.student]["seed"],
        work="results/{run}/work/student/{student}",
        code=stage_code("train"),
    message:
        "Training the student {wildcards.student}"
    shell:
        "spkdistill train --name {wildcards.student} --settings {params.settings:q}"
        " --feature-settings {params.features:q} --views {input.views} --speakers {input.speakers}"
        " --features {input.features} --targets {params.targets} --seed {params.seed} --work {params.work}"
        " --model {output.model} --config {output.config} --log {output.log} > {log} 2>&1"


rule students:
    input:
        artifacts(rules.student, student=config["students"]),
    message:
        "The students are there"
