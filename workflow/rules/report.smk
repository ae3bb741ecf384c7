"""The report: one page and one table for the run."""


rule report:
    input:
        metrics=of_run(
            "results/{run}/metrics/{model}/{backend}/{trials}.json",
            model=MODELS,
            backend=config["backends"],
            trials=MEASURED,
        ),
        paired=compared_tables(),
        references=reference_tables(),
        models=[model_file(model, "config.json") for model in MODELS],
        logs=[model_file(model, "log.tsv") for model in MODELS if model not in FOREIGN],
        rejected=rejected_files(),
        manifests=manifest_files(),
        analyses=rules.analyses.input,
    output:
        html=of_run("results/{run}/report/index.html"),
        summary=of_run("results/{run}/report/summary.tsv"),
    log:
        *of_run("results/{run}/logs/report.log"),
    benchmark:
        of_run("results/{run}/benchmarks/report.tsv")[0]
    conda:
        "../../envs/spkdistill.yaml"
    params:
        settings=in_pieces(json.dumps(report_settings())),  # its order is that of the tables
        metrics=lambda w, input: by_system(input.metrics),
        references=lambda w, input: by_reference(input.references),
        models=lambda w, input: by_model(input.models),
        logs=lambda w, input: by_model(input.logs),
        rejected=lambda w, input: by_stage(input.rejected),
        manifests=lambda w, input: by_stage(input.manifests),
        analyses=lambda w, input: by_teacher(input.analyses),
        code=stage_code("report"),
    message:
        "Writing the report"
    shell:
        "spkdistill report --settings {params.settings:q} --metrics {params.metrics} --paired {input.paired}"
        " --reference {params.references}"
        " --model {params.models} --log {params.logs} --rejected {params.rejected} --manifest {params.manifests}"
        " --analysis {params.analyses} --html {output.html} --summary {output.summary} > {log} 2>&1"
