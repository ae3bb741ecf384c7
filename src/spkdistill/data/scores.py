"""Score files: lines `enrol test score`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.data.columns import read_columns
from spkdistill.data.trials import BLOCK_LINES, Trials, pair_numbers
from spkdistill.errors import DataError
from spkdistill.files import replacing

FORM = "enrol test score"


@dataclass(frozen=True)
class Scores:
    """Scores in the order of their file."""

    names: list[str]  # sorted: every name of either side, once
    enrol: np.ndarray  # (scores,) int32, indices into names
    test: np.ndarray  # (scores,) int32
    values: np.ndarray  # (scores,) float64, finite

    def pair(self, index: int) -> str:
        """The names of the two sides of a score."""
        return f"{self.names[self.enrol[index]]} {self.names[self.test[index]]}"


def read_scores(path: str | Path) -> Scores:
    """The scores of a file. A pair that is listed again must have its score again.

    DataError names a line that is not `enrol test score` of a finite number, or has a second score.
    """
    path = Path(path)
    names, read = read_columns(path, FORM.split(), FORM, numbers=["score"])
    scores = Scores(names, read["enrol"], read["test"], read["score"])
    for index in np.flatnonzero(~np.isfinite(scores.values))[:1]:
        raise DataError(
            f"{path}:{index + 1}: the score of {scores.pair(index)} is {scores.values[index]}; "
            "score the trials again"
        )
    pairs = pair_numbers(scores.enrol, scores.test, len(names))
    order = np.argsort(pairs, kind="stable")
    same = pairs[order[1:]] == pairs[order[:-1]]
    again = order[1:][same & (scores.values[order[1:]] != scores.values[order[:-1]])]
    if len(again):
        index = again.min()
        raise DataError(
            f"{path}:{index + 1}: {scores.pair(index)} has two different scores; score the trials again"
        )
    return scores


def write_scores(path: str | Path, trials: Trials, values: np.ndarray) -> None:
    """Write the score of each trial; DataError names a trial whose score is not a number.

    Scores have 9 digits, as many as a float32 can hold: the 7 that Kaldi prints make scores equal that are
    not, and beyond 9 there is only the rounding of the embeddings.
    """
    for index in np.flatnonzero(~np.isfinite(values))[:1]:
        pair = " ".join(trials.pair(index))
        raise DataError(f"{path}: trial {pair} has the score {values[index]}; check the back-end")
    names = np.array(trials.names, dtype=object)
    with replacing(path) as file:
        for start in range(0, len(trials), BLOCK_LINES):
            block = slice(start, start + BLOCK_LINES)
            columns = names[trials.enrol[block]], names[trials.test[block]], values[block].tolist()
            file.writelines(f"{e} {t} {s:.9g}\n" for e, t, s in zip(*columns, strict=True))


def match_scores(scores: Scores, trials: Trials, path: str | Path) -> np.ndarray:
    """The score of each trial, (trials,) float64, NaN where the file at `path` has none.

    DataError where the file has scores of pairs that are no trials.
    """
    place = {name: index for index, name in enumerate(scores.names)}
    known = np.array([place.get(name, -1) for name in trials.names], dtype=np.int64)
    scored = pair_numbers(scores.enrol, scores.test, len(scores.names))
    asked = pair_numbers(known[trials.enrol], known[trials.test], len(scores.names))
    asked[(known[trials.enrol] < 0) | (known[trials.test] < 0)] = -1
    if np.array_equal(scored, asked):  # as `spkdistill score` writes them
        return scores.values
    unknown = np.flatnonzero(~np.isin(scored, asked))
    if len(unknown):
        raise DataError(
            f"{path}:{unknown[0] + 1}: {scores.pair(unknown[0])} is no trial of the list "
            f"({len(unknown)} such scores); score it again"
        )
    matched = np.full(len(trials), np.nan)
    if len(scored):
        order = np.argsort(scored, kind="stable")
        found = order[np.searchsorted(scored, asked, sorter=order).clip(max=len(scored) - 1)]
        hit = scored[found] == asked
        matched[hit] = scores.values[found[hit]]
    return matched
