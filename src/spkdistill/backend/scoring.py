"""The stage `score`: every trial whose two sides have embeddings gets a score; the others are listed."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.backend.inputs import Side, read_means, some, speaker_means, utterances
from spkdistill.backend.score_norm import normalise_scores
from spkdistill.backend.settings import ScoreSettings
from spkdistill.backend.system import CosineSystem, PldaSystem
from spkdistill.data.scores import write_scores
from spkdistill.data.trials import Trials, read_pairs, select
from spkdistill.errors import ConfigError, DataError, naming
from spkdistill.files import read_tsv, replacing, write_tsv
from spkdistill.shards import shard

REJECTED = ["enrol", "test", "reason"]


@dataclass(frozen=True)
class Embeddings:
    """Where the two sides come from: utterances, and models if the enrolled side is not utterances too."""

    scp: Path
    enrol_spk2utt: Path | None = None  # models are means of these utterances
    enrol_means: tuple[Path, Path | None] | None = None  # or are given, with their numbers of utterances

    def read(self, max_rejected: float) -> tuple[Side, Side]:
        """The enrolled and the tested side, one and the same where utterances are enrolled."""
        if self.enrol_spk2utt is not None and self.enrol_means is not None:
            raise ConfigError("--enrol: not with --enrol-spk2utt; the models are given, or they are means")
        test = utterances(self.scp)
        if self.enrol_means is not None:
            return read_means(*self.enrol_means), test
        if self.enrol_spk2utt is not None:
            return speaker_means(self.enrol_spk2utt, test, max_rejected), test
        return test, test


def score(
    settings: ScoreSettings,
    system: CosineSystem | PldaSystem,
    embeddings: Embeddings,
    cohort: tuple[Path, Path] | None,
    trials_path: Path,
    max_rejected: float,
    scores_path: Path,
    rejected_path: Path,
    job: int = 1,
    jobs: int = 1,
) -> None:
    """Write the lines "enrol test score" in the order of the trials, and those left out with the reason.

    `cohort` is that of `write_speaker_means`. DataError where more than the share `max_rejected` is left out.
    With `jobs`, those of the `job`-th shard of the list: concatenated, shards are the bytes of one job.
    """
    if (settings.score_norm == "none") != (cohort is None):
        raise ConfigError(
            f"score: --cohort goes with score normalisation, and score_norm is {settings.score_norm}"
        )
    enrol, test = embeddings.read(max_rejected)
    trials = read_pairs(trials_path)
    first, second = rows_of(enrol, trials, trials.enrol), rows_of(test, trials, trials.test)
    missing = (first < 0) | (second < 0)
    reasons = {i: f"no embedding of {trials.pair(i)[int(first[i] >= 0)]}" for i in np.flatnonzero(missing)}
    mine = shard(range(len(trials)), job, jobs)
    reject(rejected_path, trials, reasons, max_rejected, mine)
    kept = np.flatnonzero(~missing)
    here = (kept >= mine.start) & (kept < mine.stop)
    with naming(embeddings.scp):
        enrol, test, first, second = placed(system, enrol, test, first[kept], second[kept])
        first, second = first[here], second[here]
        scores = system.pairs(enrol, test).of(first, second, len(kept))
    if cohort is not None:
        with naming(cohort[0]):
            sides = {"enrol": (enrol, first), "test": (test, second)}
            others, kind = read_means(*cohort), settings.score_norm
            scores = normalise_scores(scores, system, sides, others, kind, settings.cohort_top)
    write_scores(scores_path, select(trials, kept[here]), scores)


def merge_scores(
    scores: Sequence[Path], rejected: Sequence[Path], scores_path: Path, rejected_path: Path
) -> None:
    """Put together what the shards of `score` wrote, given in their order."""
    rows = [row for path in rejected for row in read_tsv(path, REJECTED)]
    write_tsv(rejected_path, REJECTED, rows)
    with replacing(scores_path, "wb") as merged:
        for path in scores:
            with open(path, "rb") as part:
                shutil.copyfileobj(part, merged)


def rows_of(side: Side, trials: Trials, names: np.ndarray) -> np.ndarray:
    """The row in `side`, or -1, of each of `names`, (trials,), indices into the names of the trials."""
    row_of = {name: row for row, name in enumerate(side.names)}
    return np.array([row_of.get(name, -1) for name in trials.names])[names]


def placed(
    system: CosineSystem | PldaSystem, enrol: Side, test: Side, first: np.ndarray, second: np.ndarray
) -> tuple[Side, Side, np.ndarray, np.ndarray]:
    """Both sides placed, what no trial uses left out, and the trials' rows in them."""
    if enrol is test:
        used, rows = np.unique([first, second], return_inverse=True)
        side = system.place(test.take(used))
        return side, side, *rows.reshape(2, -1)
    (of_enrol, first), (of_test, second) = (np.unique(rows, return_inverse=True) for rows in (first, second))
    return system.place(enrol.take(of_enrol)), system.place(test.take(of_test)), first, second


def reject(
    path: Path, trials: Trials, reasons: dict[int, str], limit: float, listed: range | None = None
) -> None:
    """List the trials that get no score; DataError where they are more than the share `limit`, or all.

    With `listed`, only those of these trials are listed; the share is still of all.
    """
    rows = [[*trials.pair(i), reason] for i, reason in reasons.items() if listed is None or i in listed]
    write_tsv(path, REJECTED, rows)
    if reasons and (len(reasons) > limit * len(trials) or len(reasons) == len(trials)):
        raise DataError(
            f"{path}: {len(reasons)} of {len(trials)} trials have no score ({some(list(reasons.values()))}); "
            "add what is missing, raise data.max_rejected, or name the models if trials have them"
        )
