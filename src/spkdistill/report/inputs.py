"""Reads what the report is made from, and checks it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_json, read_text, read_tsv
from spkdistill.metrics.evaluate import PAIRED_COLUMNS
from spkdistill.report.contents import (
    ROLES,
    Analysis,
    BackendSettings,
    Comparison,
    Condition,
    Cost,
    Experiment,
    ExperimentModel,
    Histogram,
    Interval,
    Metrics,
    ModelSettings,
    Pair,
    Part,
    Report,
    ReportSettings,
    System,
)
from spkdistill.report.fields import number_of, take, take_list, take_number, take_rate
from spkdistill.settings import build

KINDS = "cosine", "plda", "fusion"
GAIN = "gain", "gain_low", "gain_high"  # of a paired test; NaN where the baseline's EER can be 0


def read_report(
    settings: Mapping[str, Any],
    metrics: Mapping[str, Path],
    models: Mapping[str, Path],
    logs: Mapping[str, Path],
    paired: list[Path],
    references: Mapping[str, Path],
    rejected: Mapping[str, Path],
    manifests: Mapping[str, Path],
    analyses: Mapping[str, Path],
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
        references={
            experiment: [
                test
                for name, path in references.items()
                if name.partition("/")[0] == experiment
                for test in read_paired(path, settings, experiment)
            ]
            for experiment in settings.experiments
        },
        logs={name: read_log(path) for name, path in logs.items()},
        rejected={name: read_tsv(path, ["utterance", "reason"]) for name, path in rejected.items()},
        manifests={name: read_manifest(path) for name, path in manifests.items()},
        analyses={name: read_analysis(path) for name, path in analyses.items()},
    )


def read_settings(mapping: Mapping[str, Any]) -> ReportSettings:
    """The report's settings, its models and back-ends checked to refer to each other only."""
    settings = build(ReportSettings, mapping, "report")
    models = {
        name: build(ModelSettings, model, f"report.models.{name}") for name, model in settings.models.items()
    }
    backends = {
        name: build(BackendSettings, backend, f"report.backends.{name}")
        for name, backend in settings.backends.items()
    }
    groups = {model.group for model in models.values()}
    for name, model in models.items():
        if model.role not in ROLES:
            raise ConfigError(f"report.models.{name}.role: {model.role!r} is neither teacher nor student")
        if model.teacher is not None and model.teacher not in models:
            raise ConfigError(f"report.models.{name}.teacher: {model.teacher!r} is not a model of this run")
        if model.baseline is not None and model.baseline not in groups:
            raise ConfigError(f"report.models.{name}.baseline: {model.baseline!r} is no model's group")
    for name, backend in backends.items():
        if backend.kind not in KINDS:
            raise ConfigError(f"report.backends.{name}.kind: {backend.kind!r} is none of {', '.join(KINDS)}")
        for other in backend.systems:
            if other not in backends:
                raise ConfigError(f"report.backends.{name}.systems: {other!r} is not a back-end of this run")
        if backend.calibrated_on in settings.trials:
            raise ConfigError(
                f"report.trials: {backend.calibrated_on} cannot judge {name}, which learnt on it"
            )
    for key in ("models", "backends", "trials", "p_targets"):
        if not getattr(settings, key):
            raise ConfigError(f"report.{key}: empty; a report needs one at least")
    experiments = {
        name: read_experiment(experiment, f"report.experiments.{name}")
        for name, experiment in settings.experiments.items()
    }
    for name, experiment in experiments.items():
        for other in {other for place in experiment.students for other in (place.model, place.teacher)}:
            if other not in models:
                raise ConfigError(f"report.experiments.{name}: {other!r} is not a model of this run")
        if experiment.backend not in backends:
            raise ConfigError(
                f"report.experiments.{name}.backend: {experiment.backend!r} is not a back-end of this run"
            )
    return replace(settings, models=models, backends=backends, experiments=experiments)


def read_experiment(mapping: Mapping[str, Any], where: str) -> Experiment:
    """An experiment with its students."""
    experiment = build(Experiment, mapping, where)
    students = tuple(build(ExperimentModel, student, where) for student in experiment.students)
    return Experiment(students, experiment.backend, experiment.reference)


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
    det, costs = take(data, "det", dict, path), read_costs(data, path)
    p_miss, p_fa = (take_list(det, key, f"{path}:det", take_rate) for key in ("p_miss", "p_fa"))
    if len(p_miss) != len(p_fa):
        raise DataError(f"{path}:det: {len(p_miss)} miss rates but {len(p_fa)} false-alarm rates")
    counts = ("trials", "targets", "nontargets", "speakers", "missing", "duplicates", "bootstrap_samples")
    numbers = ("threshold_eer", "min_cllr")
    return Metrics(
        **{key: take(data, key, int, path) for key in counts},
        **{key: take_number(data, key, path) for key in numbers},
        **{key: take_rate(data, key, path) for key in ("eer_hull", "confidence")},
        eer=read_eer(data, path),
        min_dcf=costs["min_dcf"],
        act_dcf=costs["act_dcf"],
        cllr=read_interval(data, "cllr", path),
        p_miss=p_miss,
        p_fa=p_fa,
        histogram=read_histogram(take(data, "histogram", dict, path), f"{path}:histogram"),
        conditions=read_conditions(
            take(data, "conditions", dict, path), f"{path}:conditions", costs["min_dcf"].keys()
        ),
    )


def read_eer(mapping: Any, where: str | Path) -> Interval:
    """The EER with its interval."""
    return Interval(*(take_rate(mapping, key, where) for key in ("eer", "eer_low", "eer_high")))


def read_interval(mapping: Any, key: str, where: str | Path) -> Interval:
    """The `{value, low, high}` under a key."""
    inner = take(mapping, key, dict, where)
    return Interval(*(take_number(inner, part, f"{where}:{key}") for part in ("value", "low", "high")))


def read_costs(data: Any, path: Path) -> dict[str, dict[str, Interval]]:
    """minDCF and actDCF, each by target prior."""
    costs = {}
    for name in ("min_dcf", "act_dcf"):
        of_prior = take(data, name, dict, path)
        costs[name] = {prior: read_interval(of_prior, prior, f"{path}:{name}") for prior in of_prior}
    if not costs["min_dcf"]:
        raise DataError(f"{path}: 'min_dcf' is empty; set metrics.p_targets and make it again")
    if costs["min_dcf"].keys() != costs["act_dcf"].keys():
        raise DataError(f"{path}: 'min_dcf' and 'act_dcf' disagree on the priors; make the file again")
    return costs


def read_histogram(mapping: Any, where: str) -> Histogram:
    """A histogram of the scores of both classes."""
    edges, *counts = (
        take_list(mapping, key, where, take_number) for key in ("edges", "targets", "nontargets")
    )
    if any(len(of_class) != len(edges) - 1 for of_class in counts) or not np.all(np.diff(edges) > 0):
        raise DataError(f"{where}: expected rising edges and a count between each two; make the file again")
    if any(of_class.min() < 0 or not of_class.any() for of_class in counts):
        raise DataError(f"{where}: expected scores of both classes, counted; make the file again")
    return Histogram(edges, *counts)


def read_conditions(mapping: Any, where: str, priors: Collection[str]) -> dict[str, dict[str, Condition]]:
    """The conditions of the trials, each with its values; minDCF is given at `priors`."""
    conditions = {}
    for name in mapping:
        values = take(mapping, name, dict, where)
        conditions[name] = {
            value: read_condition(values, value, f"{where}.{name}", priors) for value in values
        }
    return conditions


def read_condition(values: Any, value: str, where: str, priors: Collection[str]) -> Condition:
    """One value of a condition: with an EER, or without one and with the reason."""
    mapping, where = take(values, value, dict, where), f"{where}.{value}"
    counts = {key: take(mapping, key, int, where) for key in ("targets", "nontargets", "speakers")}
    if take(mapping, "eer", object, where) is None:
        note = take(mapping, "note", str, where)
        return Condition(**counts, eer=None, min_dcf={}, min_cllr=None, note=note)
    costs = take(mapping, "min_dcf", dict, where)
    return Condition(
        **counts,
        eer=read_eer(mapping, where),
        min_dcf={prior: read_interval(costs, prior, f"{where}:min_dcf") for prior in priors},
        min_cllr=take_number(mapping, "min_cllr", where),
        note=None,
    )


def read_cost(config: Any, path: Path) -> Cost:
    """The `cost` part of a model's config.json."""
    cost = take(config, "cost", dict, path)
    where = f"{path}:cost"
    counts = {
        key: take(cost, key, int, where)
        for key in ("parameters", "parameters_with_head", "bytes", "embedding_dim")
    }
    for key, count in counts.items():
        if count < 1:
            raise DataError(f"{where}.{key}: expected a positive number, found {count}")
    return Cost(**counts, macs_per_second=take_number(cost, "macs_per_second", where))


def read_paired(path: Path, settings: ReportSettings, experiment: str | None = None) -> list[Comparison]:
    """The rows of a table of paired tests, of an `experiment` or all; systems are written "model/backend"."""
    comparisons = []
    for number, row in enumerate(read_tsv(path, PAIRED_COLUMNS), start=2):
        where = f"{path}:{number}"
        if row[0] not in settings.trials:
            raise DataError(f"{where}: trial list {row[0]!r} is not in the report's settings")
        system, baseline = (read_system(text, settings, experiment, where) for text in row[1:3])
        values = dict(zip(PAIRED_COLUMNS[3:], row[3:], strict=True))
        numbers = {key: number_of(values, key, where, finite=key not in GAIN) for key in values}
        comparisons.append(
            Comparison(
                *(row[0], system, baseline),
                **{key: numbers[key] for key in ("eer_system", "eer_baseline", "p_value", "p_holm")},
                difference=Interval(*(numbers[key] for key in ("difference", "low", "high"))),
                gain=Interval(*(numbers[key] for key in GAIN)),
            )
        )
    return comparisons


def read_system(text: str, settings: ReportSettings, experiment: str | None, where: str) -> System:
    """The system that "group/backend" names; a group of one model has the name of that model.

    In the tests of an experiment it may be "experiment:method/backend".
    """
    model, _, backend = text.rpartition("/")
    groups = {model.group for model in settings.models.values()}
    if experiment:
        groups |= {f"{experiment}:{place.method}" for place in settings.experiments[experiment].students}
    if model not in groups or backend not in settings.backends:
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


def read_analysis(path: Path) -> Analysis:
    """An analysis of targets, as `spkdistill analyse` writes it."""
    data = read_json(path)
    counts = {key: take(data, key, int, path) for key in ("views", "speakers", "folds")}
    parts = [read_part(part, f"{path}:parts") for part in take(data, "parts", list, path)]
    pairs = [read_pair(pair, f"{path}:pairs") for pair in take(data, "pairs", list, path)]
    if [pair.parts for pair in pairs] != list(combinations([part.name for part in parts], 2)):
        raise DataError(f"{path}: expected each two of the parts as a pair, in their order; make it again")
    return Analysis(**counts, parts=parts, pairs=pairs)


def read_part(mapping: Any, where: str) -> Part:
    """One of the parts of an analysis."""
    return Part(
        name=take(mapping, "part", str, where),
        dim=take(mapping, "dim", int, where),
        **{key: take_number(mapping, key, where) for key in ("effective_rank", "participation_ratio")},
        between_speaker_share=take_rate(mapping, "between_speaker_share", where),
    )


def read_pair(mapping: Any, where: str) -> Pair:
    """One of the pairs of an analysis."""
    names, r2 = take(mapping, "parts", list, where), take_list(mapping, "r2", where, take_number)
    if len(names) != 2 or len(r2) != 2:
        raise DataError(f"{where}: expected two parts and two values of r2; make the file again")
    figures = {key: take_number(mapping, key, where) for key in ("cka", "canonical_correlation")}
    return Pair(parts=tuple(names), **figures, r2=tuple(r2.tolist()))
