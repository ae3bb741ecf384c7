"""What the pages and tables of a run show, from its config: the `--settings` of `report` and `runs`.

Configs are complete, their students crossed.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spkdistill.comparisons import Config, baseline, group_of
from spkdistill.config import measured_lists
from spkdistill.distill.parts import EMBEDDING_OPTIONS, learnt
from spkdistill.report.fields import written

NOT_OPTIONS = (
    "objective",
    "teacher_head",
    *EMBEDDING_OPTIONS,
)  # of an objective: they have their own columns


def report_settings(config: Config) -> dict[str, Any]:
    """What the report of the whole run shows."""
    models = [*config["teachers"], *config["students"]]
    return page(config, config["run"], "report", models, config["backends"], config["experiments"])


def experiment_page_settings(config: Config, experiment: str) -> dict[str, Any]:
    """What the page of an experiment shows."""
    run, models = config["run"], table_models(config, experiment_students(config, experiment))
    target = f"results/{run}/experiments/{experiment}.html"
    title, backends = f"{run}, experiment {experiment}", page_backends(config, experiment)
    return page(config, title, target, models, backends, [experiment])


def page(
    config: Config,
    title: str,
    target: str,
    models: Iterable[str],
    backends: Iterable[str],
    experiments: Iterable[str],
) -> dict[str, Any]:
    """What a page shows; `target` is what a person asks Snakemake for to make it."""
    groups = {group_of(config, model) for model in models}
    return {
        "run": title,
        "target": target,
        "models": {
            name: shown_model(config, name, groups)
            for name in (*config["teachers"], *config["students"])
            if name in models
        },
        "backends": {name: shown_backend(config["backends"][name]) for name in backends},
        "trials": measured_lists(config),
        "p_targets": config["metrics"]["p_targets"],
        "experiments": {name: shown_experiment(config, name) for name in experiments},
    }


def shown_model(config: Config, name: str, groups: set[str]) -> dict[str, Any]:
    """What a page says of a teacher or a student; `groups` are those on the page."""
    is_teacher = name in config["teachers"]
    model = config["teachers" if is_teacher else "students"][name]
    distil = model.get("distil", {})
    return {
        "role": "teacher" if is_teacher else "student",
        "arch": Path(model["file"]).name if "file" in model else model["model"]["arch"],
        "objective": distil.get("objective"),
        "targets": distil.get("targets", []),
        "targets_of": distil.get("targets_of"),
        "form": distil.get("form"),
        "teacher": model.get("teacher"),
        "group": group_of(config, name),
        "baseline": None if is_teacher else baseline(config, name, groups),
    }


def shown_backend(backend: Mapping[str, Any]) -> dict[str, Any]:
    """What a page says of a back-end."""
    norm = {"none": None, "as": f"as-norm, top {backend.get('cohort_top')}"}
    kind = backend.get("score_norm", "none")
    return {
        "kind": backend["kind"],
        "norm": norm.get(kind, f"{kind}-norm"),
        "systems": backend.get("systems", []),
        "calibrated_on": backend.get("trials"),
        "adapted_to": backend.get("adapt_set"),
    }


def shown_experiment(config: Config, experiment: str) -> dict[str, Any]:
    """What a page says of an experiment."""
    reference = config["experiments"][experiment].get("reference")
    return {
        "students": experiment_students(config, experiment),
        "backend": figures_backend(config, experiment),
        "reference": written(reference) if isinstance(reference, dict) else reference,
    }


def figures_backend(config: Config, experiment: str) -> str:
    """The back-end of an experiment's figures: its own, or the first of kind plda, or the first."""
    backends = config["backends"]
    plda = [name for name, settings in backends.items() if settings["kind"] == "plda"]
    return config["experiments"][experiment].get("backend", [*plda, *backends][0])


def page_backends(config: Config, experiment: str) -> list[str]:
    """The back-ends on the page of an experiment: that of its figures, and what that fuses."""
    own = figures_backend(config, experiment)
    return [*config["backends"][own].get("systems", []), own]


def runs_settings(config: Config, students: list[dict[str, Any]]) -> dict[str, Any]:
    """What a table of runs shows."""
    return {
        "students": students,
        "teachers": table_teachers(config, students),
        "backends": list(config["backends"]),
        "trials": measured_lists(config),
        "p_targets": config["metrics"]["p_targets"],
    }


def table_models(config: Config, students: list[dict[str, Any]]) -> list[str]:
    """The models of a table of runs."""
    return table_teachers(config, students) + [student["model"] for student in students]


def table_teachers(config: Config, students: list[dict[str, Any]]) -> list[str]:
    """Those of some students, in the order of the config."""
    named = {student["teacher"] for student in students}
    return [teacher for teacher in config["teachers"] if teacher in named]


def experiment_students(config: Config, experiment: str) -> list[dict[str, Any]]:
    """What the students of an experiment are."""
    settings = config["experiments"][experiment]
    return [shown_student(config, model, settings["vary"]) for model in settings["models"]]


def every_student(config: Config) -> list[dict[str, Any]]:
    """What every student of the run is, with each key that any experiment varies."""
    varied = dict.fromkeys(key for experiment in config["experiments"].values() for key in experiment["vary"])
    return [shown_student(config, model, varied) for model in config["students"]]


def shown_student(config: Config, model: str, vary: Iterable[str]) -> dict[str, Any]:
    """A student's place in an experiment that varies the keys of `vary`."""
    settings = config["students"][model]
    distil, own = settings["distil"], settings["model"] | settings["training"] | settings["distil"]
    return {
        "model": model,
        **{key: settings[key] for key in ("group", "student", "teacher", "method", "seed")},
        "objective": distil["objective"],
        "targets": learnt(distil),
        **{key: distil.get(key) for key in EMBEDDING_OPTIONS[1:]},
        "options": {key: distil[key] for key in distil if key not in NOT_OPTIONS},
        "vary": {key: own[key] for key in vary if key in own},
    }
