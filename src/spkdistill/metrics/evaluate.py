"""The stages `metrics` and `paired`: error rates of a score file, and differences between two systems."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill.data.kaldi import read_table
from spkdistill.data.trials import Trials, read_trials
from spkdistill.errors import ConfigError, DataError, naming
from spkdistill.files import read_text, write_json, write_tsv
from spkdistill.metrics.bootstrap import interval, resampled_counts, two_sided_p
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.dcf import min_dcf
from spkdistill.metrics.det import det_curve
from spkdistill.metrics.eer import eer, eer_hull, eer_threshold
from spkdistill.seeds import generator

PAIRED_COLUMNS = [
    "trials",
    "system",
    "baseline",
    "eer_system",
    "eer_baseline",
    "difference",
    "low",
    "high",
    "p_value",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricsSettings:
    """Resamples, share of them inside an interval, and target priors of minDCF."""

    bootstrap_samples: int
    confidence: float
    p_targets: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.bootstrap_samples < 1 or not 0 < self.confidence < 1:
            raise ConfigError("metrics: bootstrap_samples is 1 or more, and confidence between 0 and 1")
        if not all(isinstance(p, int | float) and 0 < p < 1 for p in self.p_targets):
            raise ConfigError(f"metrics.p_targets: priors lie between 0 and 1, found {self.p_targets}")


@dataclass(frozen=True)
class LabelledTrials:
    """Trials with the speakers of their sides."""

    trials: Trials
    speakers: np.ndarray  # (trials, 2) str


def evaluate(
    scores_path: Path,
    trials_path: Path,
    utt2spk_path: Path,
    settings: MetricsSettings,
    seed: int,
    output: Path,
) -> None:
    """Write the error rates (fractions) of a score file, with intervals, as JSON."""
    labelled = read_labelled(trials_path, utt2spk_path)
    scores = match_scores(read_scores(scores_path), labelled.trials, scores_path)
    with naming(scores_path):
        metrics = measure(labelled, scores, settings, seed)
    write_json(output, metrics)


def measure(
    labelled: LabelledTrials, scores: np.ndarray, settings: MetricsSettings, seed: int
) -> dict[str, Any]:
    """The contents of a metrics file, from scores (trials,) with NaN where there is none."""
    scored = ~np.isnan(scores)
    target = labelled.trials.target[scored]
    system = ScoredTrials(scores[scored], target)
    names, speakers = np.unique(labelled.speakers[scored], return_inverse=True)
    counts = system.count()
    rng = generator(seed, "metrics")
    blocks = [
        np.stack([eer(block), *(min_dcf(block, p) for p in settings.p_targets)])
        for (block,) in resampled_counts([system], speakers.reshape(-1, 2), settings.bootstrap_samples, rng)
    ]
    intervals = [interval(values, settings.confidence) for values in np.concatenate(blocks, axis=1)]
    p_miss, p_fa = det_curve(counts)
    return {
        "trials": len(target),
        "targets": int(target.sum()),
        "nontargets": int((~target).sum()),
        "speakers": len(names),
        "missing": int((~scored).sum()),
        "eer": float(eer(counts)),
        "eer_low": intervals[0][0],
        "eer_high": intervals[0][1],
        "eer_hull": eer_hull(counts),
        "threshold_eer": eer_threshold(counts, system.thresholds),
        "min_dcf": {
            f"{p:g}": {"value": float(min_dcf(counts, p)), "low": low, "high": high}
            for p, (low, high) in zip(settings.p_targets, intervals[1:], strict=True)
        },
        "det": {"p_miss": p_miss.tolist(), "p_fa": p_fa.tolist()},
        "bootstrap_samples": settings.bootstrap_samples,
        "confidence": settings.confidence,
    }


def compare(
    pairs: Sequence[tuple[tuple[str, Path], tuple[str, Path]]],
    name: str,
    trials_path: Path,
    utt2spk_path: Path,
    settings: MetricsSettings,
    seed: int,
    output: Path,
) -> None:
    """Write a row for each pair of (system, its scores) and (baseline, its scores), as `difference` says."""
    labelled = read_labelled(trials_path, utt2spk_path)
    paths = dict.fromkeys(path for pair in pairs for _, path in pair)
    scores = {path: match_scores(read_scores(path), labelled.trials, path) for path in paths}
    rows = [
        [name, system, baseline, *difference(labelled, scores[path], scores[base_path], settings, seed)]
        for (system, path), (baseline, base_path) in pairs
    ]
    write_tsv(output, PAIRED_COLUMNS, rows)


def difference(
    labelled: LabelledTrials, scores: np.ndarray, baseline: np.ndarray, settings: MetricsSettings, seed: int
) -> list[float]:
    """EER of a system and of its baseline on the trials that both scored, difference, interval, two-sided p.

    Both are resampled with the same draws of speakers, so what the two share does not widen the interval.
    """
    common = ~np.isnan(scores) & ~np.isnan(baseline)
    if not common.all():
        log.warning("paired: %d trials that one system did not score are left out", np.count_nonzero(~common))
    systems = [ScoredTrials(values[common], labelled.trials.target[common]) for values in (scores, baseline)]
    speakers = np.unique(labelled.speakers[common], return_inverse=True)[1].reshape(-1, 2)
    rng = generator(seed, "metrics")
    resampled = resampled_counts(systems, speakers, settings.bootstrap_samples, rng)
    differences = np.concatenate([eer(block) - eer(base_block) for block, base_block in resampled])
    values = [float(eer(system.count())) for system in systems]
    low, high = interval(differences, settings.confidence)
    return [*values, values[0] - values[1], low, high, two_sided_p(differences)]


def read_labelled(trials_path: Path, utt2spk_path: Path) -> LabelledTrials:
    """Trials and the speakers of their sides; a side is an utterance of utt2spk, or itself a speaker."""
    trials, utt2spk = read_trials(trials_path), read_table(utt2spk_path)
    speaker_of = {speaker: speaker for speaker in utt2spk.values()} | utt2spk
    try:
        speakers = [[speaker_of[name] for name in side] for side in (trials.enrol, trials.test)]
    except KeyError as error:
        raise DataError(
            f"{trials_path}: {error.args[0]} is not in {utt2spk_path}; add it or remove the trial"
        ) from None
    return LabelledTrials(trials, np.array(speakers).T)


def read_scores(path: Path) -> dict[tuple[str, str], float]:
    """The score of each (enrol, test) of a file of lines "enrol test score"."""
    scores: dict[tuple[str, str], float] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        try:
            enrol, test, text = line.split()
            score = float(text)
        except ValueError:
            raise DataError(f"{path}:{number}: expected `enrol test score`, found {line!r}") from None
        if not np.isfinite(score):
            raise DataError(f"{path}:{number}: the score of {enrol} {test} is {text}; score the trials again")
        if scores.setdefault((enrol, test), score) != score:
            raise DataError(
                f"{path}:{number}: {enrol} {test} has two different scores; score the trials again"
            )
    return scores


def match_scores(scores: Mapping[tuple[str, str], float], trials: Trials, path: Path) -> np.ndarray:
    """Scores (trials,) in the order of the trials, NaN where there is none; DataError for one of no trial."""
    pairs = list(zip(trials.enrol, trials.test, strict=True))
    unknown = scores.keys() - set(pairs)
    if unknown:
        enrol, test = min(unknown)
        raise DataError(
            f"{path}: {enrol} {test} is no trial of the list ({len(unknown)} such scores); score it again"
        )
    return np.array([scores.get(pair, np.nan) for pair in pairs])
