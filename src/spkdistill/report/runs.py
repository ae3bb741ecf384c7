"""The table of an experiment: a row for each model, back-end and trial list, the teachers' first."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_json, write_tsv
from spkdistill.report.contents import ExperimentModel, reductions
from spkdistill.report.fields import written
from spkdistill.report.inputs import check_names, read_cost, read_metrics
from spkdistill.settings import build

COLUMNS = [
    *("teacher", "student", "targets", "mean_norm", "seed", "backend", "trials"),
    *("parameters", "reduction", "eer", "eer_low", "eer_high", "min_dcf"),  # at the first of p_targets
    *("reduction_with_head", "bytes", "macs_per_second"),
    *("model", "group", "objective", "method", "options", "form", "targets_of", "vary"),
]


@dataclass(frozen=True)
class RunsSettings:
    """The students of the table, their teachers, the back-ends and trial lists, in the order of its rows."""

    students: tuple[Any, ...]  # ExperimentModel
    teachers: tuple[str, ...]
    backends: tuple[str, ...]
    trials: tuple[str, ...]
    p_targets: tuple[float, ...]


def write_runs(
    settings: Mapping[str, Any], metrics: Mapping[str, Path], models: Mapping[str, Path], output: Path
) -> None:
    """Write the table: rates and reductions are shares of 1, an empty field is a value that does not apply.

    minDCF is that at the first of `p_targets`.
    `metrics` is keyed by "model/backend/trials", `models`, the config.json of each, by name.
    """
    table = build(RunsSettings, settings, "runs")
    students = [build(ExperimentModel, student, "runs.students") for student in table.students]
    for student in students:
        if student.teacher not in table.teachers:
            raise ConfigError(f"runs.students: {student.teacher!r} is not among runs.teachers")
    of_model = {name: teacher_fields(name) for name in table.teachers}
    of_model |= {student.model: student_fields(student) for student in students}
    systems = ["/".join(system) for system in product(of_model, table.backends, table.trials)]
    check_names("--metrics", metrics, dict.fromkeys(systems))
    check_names("--model", models, of_model)

    prior = f"{table.p_targets[0]:g}"
    costs = {name: read_cost(read_json(models[name]), models[name]) for name in of_model}
    rows = []
    for system in systems:
        name, backend, trials = system.split("/")
        fields = of_model[name] | rates(metrics[system], prior) | {"backend": backend, "trials": trials}
        fields |= {key: getattr(costs[name], key) for key in ("parameters", "bytes")}
        fields["macs_per_second"] = f"{costs[name].macs_per_second:.0f}"
        if fields["student"]:
            smaller = reductions(costs[name], costs[fields["teacher"]])
            fields["reduction"], fields["reduction_with_head"] = (f"{share:.6f}" for share in smaller)
        rows.append([fields.get(column, "") for column in COLUMNS])
    write_tsv(output, COLUMNS, rows)


def teacher_fields(name: str) -> dict[str, Any]:
    """What a row says of a teacher."""
    return {"teacher": name, "student": "", "model": name, "group": name}


def student_fields(student: ExperimentModel) -> dict[str, Any]:
    """What a row says of a student."""
    return {
        **{
            key: getattr(student, key)
            for key in ("teacher", "student", "seed", "model", "group", "objective", "method")
        },
        "targets": "+".join(student.targets),
        "mean_norm": "" if student.mean_norm is None else json.dumps(student.mean_norm),
        "form": student.form or "",
        "targets_of": student.targets_of or "",
        "options": written(student.options),
        "vary": written(student.vary),
    }


def rates(path: Path, prior: str) -> dict[str, str]:
    """The error rates of a row."""
    metrics = read_metrics(path)
    if prior not in metrics.min_dcf:
        raise DataError(f"{path}: no min_dcf at the prior {prior}; make it again")
    values = {"eer": metrics.eer.value, "eer_low": metrics.eer.low, "eer_high": metrics.eer.high}
    values["min_dcf"] = metrics.min_dcf[prior].value
    return {key: f"{value:.6f}" for key, value in values.items()}
