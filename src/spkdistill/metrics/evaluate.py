"""The stages `metrics` and `paired`: error rates of a score file, and differences between two systems."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spkdistill.data.scores import match_scores, read_scores
from spkdistill.data.trials import count_repeated
from spkdistill.errors import naming
from spkdistill.files import write_json, write_tsv
from spkdistill.metrics.bootstrap import GroupedTrials, Weights, holm, interval, resample, two_sided_p
from spkdistill.metrics.cllr import min_cllr
from spkdistill.metrics.conditions import condition_values
from spkdistill.metrics.counts import ErrorCounts, ScoredTrials
from spkdistill.metrics.dcf import act_dcf, bayes_threshold, min_dcf
from spkdistill.metrics.det import det_curve
from spkdistill.metrics.eer import eer, eer_hull, eer_threshold
from spkdistill.metrics.histogram import histogram
from spkdistill.metrics.labelled import LabelledTrials, read_labelled
from spkdistill.metrics.settings import MetricsSettings
from spkdistill.metrics.trainings import Pair, rate_of, training_errors
from spkdistill.seeds import generator

PAIRED_COLUMNS = [
    *("trials", "system", "baseline", "eer_system", "eer_baseline"),
    *("difference", "low", "high", "p_value", "p_holm"),
    *("min_dcf_system", "min_dcf_baseline"),  # at the first of p_targets
    *("min_dcf_difference", "min_dcf_low", "min_dcf_high", "min_dcf_p_value", "min_dcf_p_holm"),
    *("gain", "gain_low", "gain_high"),  # of the EER, a share of the baseline's
]
RATES = (
    *("eer", "eer_low", "eer_high", "eer_hull", "threshold_eer", "min_dcf", "act_dcf"),
    *("cllr", "min_cllr", "det", "histogram"),
)

System = tuple[str, Sequence[Sequence[Path]]]  # a name, and for each of its students a score file a seed

log = logging.getLogger(__name__)


def evaluate(
    scores_path: Path,
    trials_path: Path,
    utt2spk_path: Path,
    enrol_spk2utt_path: Path | None,
    spk2gender_path: Path | None,
    utt2dur_path: Path | None,
    settings: MetricsSettings,
    seed: int,
    output: Path,
) -> dict[str, Any]:
    """Write, and return, the error rates (fractions) of a score file, with intervals, as JSON.

    enrol_spk2utt is needed where trials name models that are no speakers, spk2gender and utt2dur for the
    conditions sex and duration (ConfigError).
    """
    labelled = read_labelled(trials_path, utt2spk_path, enrol_spk2utt_path)
    scores = match_scores(read_scores(scores_path), labelled.trials, scores_path)
    conditions = {
        name: condition_values(name, labelled, settings.duration_edges, spk2gender_path, utt2dur_path)
        for name in settings.conditions
    }
    scored = ~np.isnan(scores)
    missing = int(np.count_nonzero(~scored))
    if missing:
        log.warning("%s: %d of %d trials have no score and are left out", scores_path, missing, len(scores))
    whole = labelled.select(scored)
    with naming(scores_path):
        rates = measure(whole, scores[scored], settings, generator(seed, "metrics"))
    metrics = {
        **count(whole),
        **rates,
        "missing": missing,
        "conditions": {
            name: measure_values(labelled, scores, values, settings, seed, name)
            for name, values in conditions.items()
        },
        "bootstrap_samples": settings.bootstrap_samples,
        "confidence": settings.confidence,
    }
    write_json(output, metrics)
    return metrics


def measure(
    labelled: LabelledTrials, scores: np.ndarray, settings: MetricsSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """The RATES of trials from their scores, (trials,); DataError where one kind is absent."""
    target = labelled.trials.target
    system = ScoredTrials(scores, target)
    p_miss, p_fa = det_curve(system.count())
    return {
        **error_rates(labelled, scores, settings, rng),
        "eer_hull": eer_hull(system),
        "threshold_eer": eer_threshold(system),
        "min_cllr": min_cllr(system),
        "det": {"p_miss": p_miss.tolist(), "p_fa": p_fa.tolist()},
        "histogram": histogram(scores, target),
    }


def measure_values(
    labelled: LabelledTrials,
    scores: np.ndarray,
    values: pd.Categorical,
    settings: MetricsSettings,
    seed: int,
    condition: str,
) -> dict[str, dict[str, Any]]:
    """The metrics of the scored trials with each value of a condition; RATES are null without one kind."""
    measured = {}
    for code, value in enumerate(values.categories):
        keep = (values.codes == code) & ~np.isnan(scores)
        if keep.any():
            part = labelled.select(keep)
            counts = count(part)
            if counts["targets"] and counts["nontargets"]:
                rng = generator(seed, "metrics", f"{condition}/{value}")
                measured[value] = counts | measure(part, scores[keep], settings, rng)
            else:
                absent = "target" if counts["nontargets"] else "nontarget"
                measured[value] = counts | dict.fromkeys(RATES) | {"note": f"no {absent} trials"}
    return measured


def count(labelled: LabelledTrials) -> dict[str, int]:
    """How many trials of either kind there are, of how many speakers, and how many are listed before."""
    targets = int(np.count_nonzero(labelled.trials.target))
    return {
        "trials": len(labelled.trials),
        "targets": targets,
        "nontargets": len(labelled.trials) - targets,
        "speakers": len(np.unique(labelled.speakers)),
        "duplicates": count_repeated(labelled.trials.pairs),
    }


def error_rates(
    labelled: LabelledTrials, scores: np.ndarray, settings: MetricsSettings, rng: np.random.Generator
) -> dict[str, Any]:
    """EER, minDCF, actDCF and Cllr, each with its interval."""
    priors, target = settings.p_targets, labelled.trials.target
    bayes = [bayes_threshold(p) for p in priors]
    trials = ScoredTrials(scores, target, fixed=bayes)
    at = np.searchsorted(trials.thresholds, bayes)
    system = GroupedTrials(scores, target, labelled.sides(), trials.thresholds)

    def rates(weights: Weights) -> list[float]:
        counts = weights.counts
        least = [min_dcf(counts, p) for p in priors]
        actual = [act_dcf(counts, p, index) for p, index in zip(priors, at, strict=True)]
        return [eer(counts), weights.cllr(), *least, *actual]

    values = rates(system.weigh(np.ones(system.speakers + 1, dtype=np.int32)))
    resampled = [rates(weights) for (weights,) in resample([system], settings.bootstrap_samples, rng)]
    bounds = [interval(row, settings.confidence) for row in np.transpose(resampled)]
    found = [
        {"value": value, "low": low, "high": high} for value, (low, high) in zip(values, bounds, strict=True)
    ]
    rate, cllr, *costs = found
    names = settings.prior_names
    return {
        "eer": rate["value"],
        "eer_low": rate["low"],
        "eer_high": rate["high"],
        "cllr": cllr,
        "min_dcf": dict(zip(names, costs[: len(names)], strict=True)),
        "act_dcf": dict(zip(names, costs[len(names) :], strict=True)),
    }


def compare(
    pairs: Sequence[tuple[System, System]],
    name: str,
    trials_path: Path,
    utt2spk_path: Path,
    enrol_spk2utt_path: Path | None,
    settings: MetricsSettings,
    shared_seeds: bool,
    seed: int,
    output: Path,
) -> list[dict[str, Any]]:
    """Write, and return, a row for each pair of a system and its baseline, whose rates `trainings` says.

    Its fields are PAIRED_COLUMNS. p-values are two-sided, and those of Holm adjusted for the number of rows.
    Trials that one of all the systems did not score are left out for all. `shared_seeds` says that both
    systems of a pair score the same trainings in the same order, see `trainings`.
    """
    labelled = read_labelled(trials_path, utt2spk_path, enrol_spk2utt_path)
    paths = list(dict.fromkeys(path for pair in pairs for _, scores in pair for of in scores for path in of))
    scores = [match_scores(read_scores(path), labelled.trials, path) for path in paths]
    common = ~np.isnan(scores).any(axis=0)
    if not common.all():
        log.warning("paired: %d trials that one system did not score are left out", np.count_nonzero(~common))
    with naming(trials_path):
        values, resampled = resampled_rates(
            labelled.select(common), [row[common] for row in scores], settings, generator(seed, "metrics")
        )
    at = {path: place for place, path in enumerate(paths)}
    places = [
        tuple([[at[path] for path in seeds] for seeds in scores] for _, scores in pair) for pair in pairs
    ]
    errors, freedom = training_errors(values, resampled, places, shared_seeds)
    deviates = np.zeros(len(resampled))
    if freedom:
        deviates = generator(seed, "metrics", "trainings").standard_t(freedom, len(resampled))
    eers, costs = (
        (values[:, rate], resampled[:, :, rate], places, np.outer(errors[:, rate], deviates))
        for rate in (0, 1)
    )
    tests = (differences(*rates, settings.confidence) for rates in (eers, costs))
    rows = [
        [name, system, baseline, *of_eer, *of_cost, *gained]
        for ((system, _), (baseline, _)), of_eer, of_cost, gained in zip(
            pairs, *tests, gains(*eers, settings.confidence), strict=True
        )
    ]
    write_tsv(output, PAIRED_COLUMNS, rows)
    return [dict(zip(PAIRED_COLUMNS, row, strict=True)) for row in rows]


def resampled_rates(
    labelled: LabelledTrials,
    scores: Sequence[np.ndarray],
    settings: MetricsSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """EER and minDCF of each score file, (files, 2), and on resampled speakers, (samples, files, 2).

    All are resampled with the same draws of speakers, so what they share does not widen their differences.
    """
    target, sides = labelled.trials.target, labelled.sides()
    trials = [ScoredTrials(row, target) for row in scores]
    systems = [
        GroupedTrials(row, target, sides, one.thresholds) for one, row in zip(trials, scores, strict=True)
    ]

    def rates(counts: ErrorCounts) -> tuple[float, float]:
        return eer(counts), min_dcf(counts, settings.p_targets[0])

    drawn = [
        [rates(weights.counts) for weights in of_systems]
        for of_systems in resample(systems, settings.paired_samples, rng)
    ]
    return np.array([rates(one.count()) for one in trials]), np.array(drawn)


def differences(
    values: np.ndarray,
    resampled: np.ndarray,
    places: Sequence[Pair],
    of_training: np.ndarray,
    confidence: float,
) -> list[list[float]]:
    """The paired tests of a rate of score files, (files,), resampled (samples, files), for two systems each.

    `places` are the score files of both; `of_training`, (pairs, samples), is added to their differences. Both
    values, the first less the second, the ends of its interval, its p-value, and that after Holm.
    """
    rows = []
    for (one, other), moved in zip(places, of_training, strict=True):
        drawn = rate_of(one, resampled) - rate_of(other, resampled) + moved
        value, base = float(rate_of(one, values)), float(rate_of(other, values))
        rows.append([value, base, value - base, *interval(drawn, confidence), two_sided_p(drawn)])
    return [[*row, p] for row, p in zip(rows, holm([row[-1] for row in rows]), strict=True)]


def gains(
    values: np.ndarray,
    resampled: np.ndarray,
    places: Sequence[Pair],
    of_training: np.ndarray,
    confidence: float,
) -> list[list[float]]:
    """What the first of two systems takes off the second's rate, a share of it, and the ends of its interval.

    All as in `differences`; NaN where the second's rate is 0 for some of the resampled speakers.
    """
    rows = []
    for (one, other), moved in zip(places, of_training, strict=True):
        value, base = rate_of(one, values), rate_of(other, values)
        drawn, drawn_base = rate_of(one, resampled) + moved, rate_of(other, resampled)
        if base == 0 or not drawn_base.all():
            rows.append([np.nan] * 3)
        else:
            rows.append([float(1 - value / base), *interval(1 - drawn / drawn_base, confidence)])
    return rows
