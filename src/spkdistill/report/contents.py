"""What the report is made of: models, back-ends, metrics, paired tests, and what is asked of them."""

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

ROLES = "teacher", "student"


@dataclass(frozen=True)
class ModelSettings:
    """A model's place in the run.

    The models of a `group` differ in the seed of their training alone; `baseline` is the group of the same
    student trained without a teacher.
    """

    role: str
    arch: str
    objective: str | None
    targets: tuple[str, ...]
    targets_of: str | None  # "view" or "utterance"; None, as `form`, where the objective has no such setting
    form: str | None
    teacher: str | None
    group: str
    baseline: str | None


@dataclass(frozen=True)
class ExperimentModel:
    """A student's place in an experiment; `vary` holds the settings by which its students differ.

    `method` is the name of its objective in the config, with what is varied of it.
    """

    model: str
    group: str
    student: str
    teacher: str
    method: str
    seed: int
    objective: str
    targets: tuple[str, ...]
    mean_norm: bool | None  # None, as the next two, where the objective has no such setting
    targets_of: str | None
    form: str | None
    options: dict[str, Any]  # the other settings of its objective
    vary: dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """The students of an experiment, the back-end of its figures, the method that others are tested with."""

    students: tuple[ExperimentModel, ...]
    backend: str
    reference: str | None


@dataclass(frozen=True)
class BackendSettings:
    """A back-end; a fusion weighs the scores of `systems` as it learnt on the trial list `calibrated_on`."""

    kind: str
    norm: str | None
    systems: tuple[str, ...]
    calibrated_on: str | None
    adapted_to: str | None

    @property
    def gives_llrs(self) -> bool:
        """Whether its scores are log-likelihood ratios, which cosines and normalised scores are not."""
        return self.kind != "cosine" and self.norm is None


@dataclass(frozen=True)
class ReportSettings:
    """The name of a run or an experiment; models, back-ends, lists and experiments in the order of the page.

    `target` makes the page. minDCF is shown at the first of `p_targets` where there is room for one.
    """

    run: str
    target: str
    models: dict[str, Any]
    backends: dict[str, Any]
    trials: tuple[str, ...]
    p_targets: tuple[float, ...]
    experiments: dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A value with the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Histogram:
    """How many target and non-target scores (n,) lie between neighbours of `edges` (n + 1,)."""

    edges: np.ndarray
    targets: np.ndarray
    nontargets: np.ndarray


@dataclass(frozen=True)
class Condition:
    """The trials of one condition; without an EER where they are of one class only, as `note` says."""

    targets: int
    nontargets: int
    speakers: int
    eer: Interval | None
    min_dcf: dict[str, Interval]  # empty without an EER
    min_cllr: float | None
    note: str | None


@dataclass(frozen=True)
class Metrics:
    """One scored system: rates are fractions, `min_dcf` and `act_dcf` map a target prior to normalised costs.

    `conditions` maps a condition ("sex") to its values ("f", "m"); Cllr is in bits.
    """

    trials: int
    targets: int
    nontargets: int
    speakers: int
    missing: int
    duplicates: int
    eer: Interval
    eer_hull: float
    threshold_eer: float
    min_dcf: dict[str, Interval]
    act_dcf: dict[str, Interval]
    cllr: Interval
    min_cllr: float
    p_miss: np.ndarray
    p_fa: np.ndarray
    histogram: Histogram
    conditions: dict[str, dict[str, Condition]]
    bootstrap_samples: int
    confidence: float


@dataclass(frozen=True)
class Cost:
    """A model's parameters, bytes of its file, multiply-accumulates for a second of speech, embedding dim."""

    parameters: int
    parameters_with_head: int
    bytes: int
    macs_per_second: float
    embedding_dim: int


def reductions(student: Cost, teacher: Cost) -> tuple[float, float]:
    """How much smaller a student is than a teacher without, and with, the teacher's head (shares of 1)."""
    small = student.parameters
    return 1 - small / teacher.parameters, 1 - small / teacher.parameters_with_head


@dataclass(frozen=True)
class System:
    """A model with a back-end, to which a score file belongs; in paired tests, a group of models with one.

    In those of an experiment "experiment:method" is the mean over all its students that a method trained.
    """

    model: str
    backend: str


@dataclass(frozen=True)
class Comparison:
    """A paired test on one trial list: `difference` is the EER of `system` less that of `baseline`.

    EERs are means over the seeds of both groups.
    `p_holm` is the p-value adjusted by Holm over the tests of this trial list and back-end. `gain` is what
    `system` takes off the EER of `baseline`, a share of it; NaN where that can be 0.
    """

    trials: str
    system: System
    baseline: System
    eer_system: float
    eer_baseline: float
    difference: Interval
    p_value: float
    p_holm: float
    gain: Interval


@dataclass(frozen=True)
class Part:
    """One of a teacher's targets: its dimension, two measures of how much of it is used, and of what for."""

    name: str
    dim: int
    effective_rank: float
    participation_ratio: float
    between_speaker_share: float


@dataclass(frozen=True)
class Pair:
    """What two of a teacher's targets have in common; `r2` is of the first from the other, and back."""

    parts: tuple[str, str]
    cka: float
    canonical_correlation: float
    r2: tuple[float, float]


@dataclass(frozen=True)
class Analysis:
    """A teacher's targets, as `spkdistill analyse` compares them: a pair for each two parts."""

    views: int
    speakers: int
    folds: int
    parts: list[Part]
    pairs: list[Pair]


@dataclass(frozen=True)
class Report:
    """All that is reported.

    Metrics are by (model, backend, trials), rejected and manifests by "stage/set", analyses by teacher,
    the tests of an experiment against its reference by the experiment.
    """

    settings: ReportSettings
    metrics: dict[tuple[str, str, str], Metrics]
    costs: dict[str, Cost]
    configs: dict[str, Any]
    comparisons: list[Comparison]
    references: dict[str, list[Comparison]]
    logs: dict[str, dict[str, np.ndarray]]
    rejected: dict[str, list[list[str]]]
    manifests: dict[str, Any]
    analyses: dict[str, Analysis]

    @property
    def model_tests(self) -> list[Comparison]:
        """The paired tests between groups."""
        return [test for test in self.comparisons if test.system.model != test.baseline.model]

    @property
    def backend_tests(self) -> list[Comparison]:
        """The paired tests between back-ends of one group."""
        return [test for test in self.comparisons if test.system.model == test.baseline.model]

    def best(self, model: str, trials: str) -> System:
        """The model with the back-end of its lowest EER on a trial list; the first of equal ones."""
        backends = self.settings.backends
        return System(
            model, min(backends, key=lambda backend: self.metrics[model, backend, trials].eer.value)
        )

    @cached_property
    def groups(self) -> list[str]:
        """The groups of models that differ in the seed of their training alone; a teacher is alone."""
        return list(dict.fromkeys(model.group for model in self.settings.models.values()))

    def members(self, group: str) -> list[str]:
        """The models of a group, one for each seed of its training."""
        return [name for name, model in self.settings.models.items() if model.group == group]

    def several(self, group: str) -> bool:
        """Whether a group was trained with more than one seed."""
        return len(self.members(group)) > 1

    def seed_eers(self, system: System, trials: str) -> list[float]:
        """The EER of each model of a group with a back-end."""
        return [self.metrics[name, system.backend, trials].eer.value for name in self.members(system.model)]

    def best_of_group(self, group: str, trials: str) -> System:
        """The group with the back-end of its lowest mean EER on a trial list; the first of equal ones."""
        systems = [System(group, backend) for backend in self.settings.backends]
        return min(systems, key=lambda system: fmean(self.seed_eers(system, trials)))

    def of(self, system: System, trials: str) -> Metrics:
        """The metrics of a system on a trial list."""
        return self.metrics[system.model, system.backend, trials]

    def ranked(self, trials: str, role: str) -> list[str]:
        """The models of a role, by the mean EER of their group, then by their own, with the best back-end."""

        def eers(name: str) -> tuple[float, float]:
            group = self.best_of_group(self.settings.models[name].group, trials)
            return fmean(self.seed_eers(group, trials)), self.of(self.best(name, trials), trials).eer.value

        return sorted((name for name, model in self.settings.models.items() if model.role == role), key=eers)

    def leaders(self, trials: str) -> list[str]:
        """The best teacher and the best student, as far as there are any."""
        return [name for role in ROLES for name in self.ranked(trials, role)[:1]]

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
        return reductions(self.costs[model], self.costs[teacher])

    def comparison(self, trials: str, system: System, baseline: str) -> Comparison | None:
        """The paired test of a model's group against another, with the same back-end if there is one."""
        group = System(self.settings.models[system.model].group, system.backend)
        found = [
            test
            for test in self.comparisons
            if test.trials == trials and test.system == group and test.baseline.model == baseline
        ]
        return min(found, key=lambda test: test.baseline.backend != system.backend, default=None)
