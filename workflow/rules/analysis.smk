"""What the targets of each teacher have in common."""


rule analyse:
    input:
        views="results/{run}/views/{set}/views.tsv",
        scps=lambda w: analysed_files(w, "{part}.scp"),
        arks=lambda w: analysed_files(w, "{part}.{job}.ark"),
    output:
        "results/{run}/targets/{teacher}/{set}/analysis.json",
    log:
        "results/{run}/logs/analyse/{teacher}.{set}.log",
    benchmark:
        "results/{run}/benchmarks/analyse/{teacher}.{set}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        targets=lambda w, input: [f"{part}={scp}" for part, scp in zip(analysed(w.teacher), input.scps)],
        code=stage_code("analyse"),
    message:
        "Analysing the targets of {wildcards.teacher} for {wildcards.set}"
    shell:
        "spkdistill analyse --views {input.views} --targets {params.targets} --output {output} > {log} 2>&1"


rule analyses:
    input:
        artifacts(rules.analyse, teacher=filter(analysed, config["teachers"]), set="train"),
    message:
        "The analyses of the targets are there"
