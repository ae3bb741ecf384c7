"""What the report is made from, read and checked: metrics, models, paired tests, logs, rejected entries."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_json, read_text, read_tsv
from spkdistill.metrics.evaluate import PAIRED_COLUMNS
from spkdistill.settings import build

ROLES = ("teacher", "student")


@dataclass(frozen=True)
class ModelSettings:
    """A model's place in the run; `baseline` is the same student trained without a teacher."""

    role: str
    arch: str
    objective: str | None
    targets: tuple[str, ...]
    teacher: str | None
    baseline: str | None


@dataclass(frozen=True)
class ReportSettings:
    """The run's name and its models, back-ends and trial lists in the order in which they are shown."""

    run: str
    models: dict[str, Any]
    backends: tuple[str, ...]
    trials: tuple[str, ...]


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """One scored system: rates are fractions, `min_dcf` maps a target prior to the normalised cost."""

    trials: int
    targets: int
    nontargets: int
    speakers: int
    missing: int
    eer: Interval
    min_dcf: dict[str, Interval]
    p_miss: np.ndarray
    p_fa: np.ndarray
    bootstrap_samples: int
    confidence: float


@dataclass(frozen=True)
class Cost:
    """A model's parameters, multiply-accumulates for a second of speech, and embedding dimension."""

    parameters: int
    parameters_with_head: int
    macs_per_second: float
    embedding_dim: int


@dataclass(frozen=True)
class System:
    """A model with a back-end: what a score file belongs to."""

    model: str
    backend: str


@dataclass(frozen=True)
class Comparison:
    """A paired test on one trial list: `difference` is the EER of `system` less that of `baseline`."""

    trials: str
    system: System
    baseline: System
    eer_system: float
    eer_baseline: float
    difference: Interval
    p_value: float


@dataclass(frozen=True)
class Report:
    """All that is reported; metrics by (model, backend, trials), rejected and manifests by "stage/set"."""

    settings: ReportSettings
    metrics: dict[tuple[str, str, str], Metrics]
    costs: dict[str, Cost]
    configs: dict[str, Any]
    comparisons: list[Comparison]
    logs: dict[str, dict[str, np.ndarray]]
    rejected: dict[str, list[list[str]]]
    manifests: dict[str, Any]

    def best(self, model: str, trials: str) -> System:
        """The model with the back-end of its lowest EER on a trial list; the first of equal ones."""
        backends = self.settings.backends
        return System(
            model, min(backends, key=lambda backend: self.metrics[model, backend, trials].eer.value)
        )

    def of(self, system: System, trials: str) -> Metrics:
        """The metrics of a system on a trial list."""
        return self.metrics[system.model, system.backend, trials]

    def ranked(self, trials: str, role: str) -> list[str]:
        """The models of a role, by the EER of their best back-end."""
        names = [name for name, model in self.settings.models.items() if model.role == role]
        return sorted(names, key=lambda name: self.of(self.best(name, trials), trials).eer.value)

    def reduction(self, model: str) -> tuple[float, float] | None:
        """How much smaller a student is than its teacher without, and with, the teacher's head (shares of 1).

        The student is counted without its head in both, as the multi-level paper does. A student that names
        no teacher is compared with the run's only one; None where there is none, or several.
        """
        settings = self.settings.models[model]
        teachers = [name for name, other in self.settings.models.items() if other.role == "teacher"]
        teacher = settings.teacher or (teachers[0] if len(teachers) == 1 else None)
        if settings.role == "teacher" or teacher is None:
            return None
        small, large = self.costs[model].parameters, self.costs[teacher]
        return 1 - small / large.parameters, 1 - small / large.parameters_with_head

    def comparison(self, trials: str, system: System, baseline: str) -> Comparison | None:
        """The paired test of a system against a model, with the same back-end if there is such a test."""
        found = [
            test
            for test in self.comparisons
            if test.trials == trials and test.system == system and test.baseline.model == baseline
        ]
        return min(found, key=lambda test: test.baseline.backend != system.backend, default=None)


def read_report(
    settings: Mapping[str, Any],
    metrics: Mapping[str, Path],
    models: Mapping[str, Path],
    logs: Mapping[str, Path],
    paired: list[Path],
    rejected: Mapping[str, Path],
    manifests: Mapping[str, Path],
) -> Report:
    """Read and check every input; `metrics` is keyed by "model/backend/trials", `models` by name.

    DataError: a file is missing or malformed, or a system has no metrics. ConfigError: wrong settings.
    """
    settings = read_settings(settings)
    systems = {
        f"{model}/{backend}/{trials}": (model, backend, trials)
        for model in settings.models
        for backend in settings.backends
        for trials in settings.trials
    }
    check_names("--metrics", metrics, systems)
    check_names("--model", models, settings.models)
    configs = {name: read_json(models[name]) for name in settings.models}
    return Report(
        settings=settings,
        metrics={key: read_metrics(metrics[name]) for name, key in systems.items()},
        costs={name: read_cost(configs[name], models[name]) for name in configs},
        configs=configs,
        comparisons=[test for path in paired for test in read_paired(path, settings)],
        logs={name: read_log(path) for name, path in logs.items()},
        rejected={name: read_tsv(path, ["utterance", "reason"]) for name, path in rejected.items()},
        manifests={name: read_manifest(path) for name, path in manifests.items()},
    )


def read_settings(mapping: Mapping[str, Any]) -> ReportSettings:
    """The report's settings, each model a `ModelSettings` that refers to models of the run only."""
    settings = build(ReportSettings, mapping, "report")
    models = {
        name: build(ModelSettings, model, f"report.models.{name}") for name, model in settings.models.items()
    }
    for name, model in models.items():
        if model.role not in ROLES:
            raise ConfigError(f"report.models.{name}.role: {model.role!r} is neither teacher nor student")
        for key, other in (("teacher", model.teacher), ("baseline", model.baseline)):
            if other is not None and other not in models:
                raise ConfigError(f"report.models.{name}.{key}: {other!r} is not a model of this run")
    for key in ("models", "backends", "trials"):
        if not getattr(settings, key):
            raise ConfigError(f"report.{key}: empty; a report needs one at least")
    return ReportSettings(settings.run, models, settings.backends, settings.trials)


def check_names(option: str, given: Mapping[str, Path], expected: Mapping[str, Any]) -> None:
    """Refuse inputs that the settings do not name, and settings that no input covers."""
    for name in expected:
        if name not in given:
            raise DataError(f"{option}: nothing given for {name}; add {option} {name}=PATH")
    for name in given:
        if name not in expected:
            raise DataError(f"{option} {name}: not in the report's settings; known are {', '.join(expected)}")


def read_metrics(path: Path) -> Metrics:
    """A metrics file, as `spkdistill metrics` writes it."""
    data = read_json(path)
    det = take(data, "det", dict, path)
    p_miss, p_fa = (np.array(take_rates(det, key, f"{path}:det")) for key in ("p_miss", "p_fa"))
    if len(p_miss) != len(p_fa):
        raise DataError(f"{path}:det: {len(p_miss)} miss rates but {len(p_fa)} false-alarm rates")
    eer = Interval(*(take_rate(data, key, path) for key in ("eer", "eer_low", "eer_high")))
    costs = take(data, "min_dcf", dict, path)
    min_dcf = {prior: read_interval(costs, prior, f"{path}:min_dcf") for prior in costs}
    if not min_dcf:
        raise DataError(f"{path}: 'min_dcf' is empty; set metrics.p_targets and make it again")
    counts = [
        take(data, key, int, path) for key in ("trials", "targets", "nontargets", "speakers", "missing")
    ]
    samples = take(data, "bootstrap_samples", int, path)
    return Metrics(*counts, eer, min_dcf, p_miss, p_fa, samples, take_rate(data, "confidence", path))


def read_interval(mapping: Any, key: str, where: str) -> Interval:
    """The `{value, low, high}` under a key."""
    inner = take(mapping, key, dict, where)
    return Interval(*(take_number(inner, part, f"{where}.{key}") for part in ("value", "low", "high")))


def read_cost(config: Any, path: Path) -> Cost:
    """The `cost` part of a model's config.json."""
    cost = take(config, "cost", dict, path)
    where = f"{path}:cost"
    counts = {
        key: take(cost, key, int, where) for key in ("parameters", "parameters_with_head", "embedding_dim")
    }
    for key, count in counts.items():
        if count < 1:
            raise DataError(f"{where}.{key}: expected a positive number, found {count}")
    return Cost(**counts, macs_per_second=take_number(cost, "macs_per_second", where))


def read_paired(path: Path, settings: ReportSettings) -> list[Comparison]:
    """The rows of a table of paired tests, their systems written "model/backend"."""
    comparisons = []
    for number, row in enumerate(read_tsv(path, PAIRED_COLUMNS), start=2):
        where = f"{path}:{number}"
        if row[0] not in settings.trials:
            raise DataError(f"{where}: trial list {row[0]!r} is not in the report's settings")
        system, baseline = (read_system(text, settings, where) for text in row[1:3])
        values = dict(zip(PAIRED_COLUMNS[3:], row[3:], strict=True))
        eer_system, eer_baseline, difference, low, high, p_value = (
            number_of(values, key, where) for key in values
        )
        interval = Interval(difference, low, high)
        comparisons.append(Comparison(row[0], system, baseline, eer_system, eer_baseline, interval, p_value))
    return comparisons


def read_system(text: str, settings: ReportSettings, where: str) -> System:
    """The system that "model/backend" names."""
    model, _, backend = text.rpartition("/")
    if model not in settings.models or backend not in settings.backends:
        raise DataError(f"{where}: {text!r} is not a model/backend of the report's settings")
    return System(model, backend)


def read_log(path: Path) -> dict[str, np.ndarray]:
    """The columns of a training log: numbers, a row for each epoch ("nan" where there is none)."""
    columns = read_text(path).partition("\n")[0].split("\t")
    rows = read_tsv(path, columns)
    values = [
        [
            number_of(dict(zip(columns, row, strict=True)), column, f"{path}:{number}", finite=False)
            for column in columns
        ]
        for number, row in enumerate(rows, start=2)
    ]
    if "epoch" not in columns:
        raise DataError(f"{path}:1: no column named epoch; found {' '.join(columns)}")
    table = np.array(values).reshape(len(rows), len(columns))
    return {column: table[:, index] for index, column in enumerate(columns)}


def read_manifest(path: Path) -> Any:
    """A manifest with the keys that are reported."""
    manifest = read_json(path)
    for key in ("contents", "made_by"):
        take(manifest, key, dict, path)
    return manifest


def take(mapping: Any, key: str, kind: type, where: str | Path) -> Any:
    """The value of a key that must be there, of the type that it must have."""
    if not isinstance(mapping, dict):
        raise DataError(f"{where}: expected a JSON object, found {excerpt(mapping)}")
    if key not in mapping:
        raise DataError(f"{where}: {key!r} is missing; make the file again with this version")
    value = mapping[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where}: {key!r} should be {kind.__name__}, found {excerpt(value)}")
    return value


def take_number(mapping: Any, key: str, where: str | Path) -> float:
    """A finite number, integer or not."""
    value = take(mapping, key, object, where)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {key!r} should be a finite number, found {excerpt(value)}")
    return float(value)


def take_rate(mapping: Any, key: str, where: str | Path) -> float:
    """A fraction from 0 to 1."""
    value = take_number(mapping, key, where)
    if not 0 <= value <= 1:
        raise DataError(f"{where}: {key!r} should be a fraction from 0 to 1, found {value}")
    return value


def take_rates(mapping: Any, key: str, where: str) -> list[float]:
    """A list of fractions, two at least."""
    values = take(mapping, key, list, where)
    if len(values) < 2:
        raise DataError(f"{where}: {key!r} should list two rates at least, found {len(values)}")
    return [take_rate({key: value}, key, where) for value in values]


def number_of(row: Mapping[str, str], column: str, where: str, finite: bool = True) -> float:
    """The number in a field of a table."""
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
        finite = finite or row[column] != "nan"
    if finite and not math.isfinite(value):
        raise DataError(f"{where}: column {column} should be a number, found {excerpt(row[column])}")
    return value


def excerpt(value: Any) -> str:
    """A value as JSON, cut to fit into an error of one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
