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


rule analysis_page:
    input:
        rules.analyse.output,
    output:
        html="results/{run}/targets/{teacher}/{set}/analysis.html",
        plot="results/{run}/targets/{teacher}/{set}/analysis.svg",
    log:
        "results/{run}/logs/analysis_page/{teacher}.{set}.log",
    benchmark:
        "results/{run}/benchmarks/analysis_page/{teacher}.{set}.tsv"
    conda:
        "../../envs/spkdistill.yaml"
    params:
        code=stage_code("analysis-page"),
    message:
        "Writing the page of the targets of {wildcards.teacher} for {wildcards.set}"
    shell:
        "spkdistill analysis-page --teacher {wildcards.teacher} --analysis {input} --html {output.html}"
        " --plot {output.plot} > {log} 2>&1"


rule analyses:
    input:
        found=artifacts(rules.analyse, teacher=filter(analysed, config["teachers"]), set="train"),
        pages=artifacts(rules.analysis_page, teacher=filter(analysed, config["teachers"]), set="train"),
    message:
        "The analyses of the targets are there"
