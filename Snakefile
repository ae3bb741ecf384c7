"""The recipe: from recordings to a table of equal error rates. Read workflow/rules/*.smk in the order of the includes.

A config file with `sets` of its own is a whole run and stands alone; one without is laid over config.yaml.
"""

if "sets" not in config:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/views.smk"
include: "workflow/rules/teachers.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/students.smk"
include: "workflow/rules/embeddings.smk"
include: "workflow/rules/backends.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/metrics.smk"
include: "workflow/rules/experiments.smk"
include: "workflow/rules/report.smk"


if workflow.is_main_process and (line := records.notice(RUN)):
    logger.warning(line)


onstart:
    records.begin(RUN, workflow.rundir)
    start_run(f"results/{RUN}", config, workflow.configfiles, dict(workflow.config_settings.config))


onsuccess:
    records.succeed(RUN)


onerror:
    records.fail(RUN)


# Everything is a target, not the report alone: an artifact that was deleted comes back.
rule all:
    default_target: True
    input:
        rules.data.input,
        rules.feats.input,
        artifacts(rules.views, set="train"),
        rules.teachers.input,
        rules.targets.input,
        rules.students.input,
        rules.embeddings.input,
        rules.backends.input,
        rules.scores.input,
        rules.experiments.input,
        rules.report.input,
        rules.report.output,
        there(artifacts(rules.experiment_page, experiment=config["experiments"])),
        there(rules.analyses.input.pages),
    message:
        "Everything is there, up to the report"
