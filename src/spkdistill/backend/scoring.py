"""The stage `score`: every trial whose two sides have embeddings gets a score; the others are listed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.arks import read_matrix, read_vector
from spkdistill.backend.inputs import read_embeddings
from spkdistill.backend.llr import pair_products, plda_scores, plda_space
from spkdistill.backend.plda import read_plda
from spkdistill.backend.train import CosineSettings, PldaSettings
from spkdistill.backend.vectors import affine, normalise_length
from spkdistill.data.kaldi import read_table
from spkdistill.data.trials import Trials, read_trials
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import replacing, write_tsv


@dataclass(frozen=True)
class Backend:
    """The files that `spkdistill backend` wrote, and the settings it had; the last two are PLDA's."""

    settings: CosineSettings | PldaSettings
    mean: Path
    transform: Path | None
    plda: Path | None


@dataclass(frozen=True)
class Side:
    """The models or utterances of one side of the trials."""

    names: list[str]
    vectors: np.ndarray  # (N, D) float32
    counts: np.ndarray  # (N,) int64, utterances that each vector is the mean of


def score(
    backend: Backend,
    embeddings_scp: Path,
    enrol_spk2utt: Path | None,
    trials_path: Path,
    max_rejected: float,
    scores_path: Path,
    rejected_path: Path,
) -> None:
    """Write the lines "enrol test score" in the order of the trials, and those left out with the reason.

    With `enrol_spk2utt` the enrolled side names its speakers, else utterances. Scores have 9 digits, as many
    as a float32 can hold: the 7 that Kaldi prints make scores equal that are not, and beyond 9 there is only
    the rounding of the embeddings. DataError where more than the share `max_rejected` is left out.
    """
    test = utterances(embeddings_scp)
    enrol = test if enrol_spk2utt is None else enrolled_means(enrol_spk2utt, test)
    trials = read_trials(trials_path)
    first, second, rejected = find_sides(trials, enrol.names, test.names)
    write_tsv(rejected_path, ["enrol", "test", "reason"], rejected)
    if len(rejected) > max_rejected * len(trials) or len(rejected) == len(trials):
        raise DataError(
            f"{rejected_path}: {len(rejected)} of {len(trials)} trials of {trials_path} have no score "
            f"({rejected[0][2]}, ...); extract what is missing, or raise data.max_rejected"
        )
    scores = trial_scores(backend, enrol, test, first, second)
    write_scores(scores_path, [enrol.names[i] for i in first], [test.names[i] for i in second], scores)


def utterances(embeddings_scp: Path) -> Side:
    """The embeddings of single utterances."""
    names, vectors = read_embeddings(embeddings_scp)
    return Side(names, vectors, np.ones(len(names), dtype=np.int64))


def enrolled_means(spk2utt: Path, test: Side) -> Side:
    """The mean embedding of each enrolled speaker (Kaldi ivector-mean); every utterance must have one."""
    row_of = {name: row for row, name in enumerate(test.names)}
    members = {speaker: value.split() for speaker, value in read_table(spk2utt).items()}
    for number, (speaker, names) in enumerate(members.items(), start=1):
        for name in names:
            if name not in row_of:
                raise DataError(
                    f"{spk2utt}:{number}: {name} of {speaker} has no embedding; remove it from the line"
                )
    means = [
        test.vectors[[row_of[name] for name in names]].mean(axis=0, dtype=np.float64)
        for names in members.values()
    ]
    return Side(list(members), np.array(means), np.array([len(names) for names in members.values()]))


def find_sides(
    trials: Trials, enrol: Sequence[str], test: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """The rows of each scorable trial's two sides, and the trials that are not, with the reason."""
    enrol_rows = {name: row for row, name in enumerate(enrol)}
    test_rows = {name: row for row, name in enumerate(test)}
    first = np.array([enrol_rows.get(name, -1) for name in trials.enrol])
    second = np.array([test_rows.get(name, -1) for name in trials.test])
    missing = (first < 0) | (second < 0)
    rejected = [
        [
            trials.enrol[i],
            trials.test[i],
            f"no embedding of {trials.enrol[i] if first[i] < 0 else trials.test[i]}",
        ]
        for i in np.flatnonzero(missing)
    ]
    return first[~missing], second[~missing], rejected


def trial_scores(
    backend: Backend, enrol: Side, test: Side, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """The scores, (trials,), of enrol[first] against test[second]."""
    mean = finite(backend.mean, read_vector(backend.mean))
    if len(mean) != test.vectors.shape[1]:
        raise DataError(
            f"{backend.mean}: the back-end is for {len(mean)} dimensions, and the embeddings have "
            f"{test.vectors.shape[1]}; train it on this model's embeddings"
        )
    settings = backend.settings
    if isinstance(settings, CosineSettings):
        sides = [normalise_length(side.vectors - mean, side.names, scale_up=False) for side in (enrol, test)]
        return pair_products(*sides, first, second)
    if backend.transform is None or backend.plda is None:
        raise ConfigError("score: kind plda needs --transform and --plda")
    transform, plda = finite(backend.transform, read_matrix(backend.transform)), read_plda(backend.plda)
    if transform.shape[1] not in (len(mean), len(mean) + 1):
        raise DataError(
            f"{backend.transform}: the transform takes {transform.shape[1] - 1} dimensions, and the "
            f"embeddings have {len(mean)}; train it on this model's embeddings"
        )
    if len(transform) != len(plda.psi):
        raise DataError(
            f"{backend.plda}: for {len(plda.psi)} dimensions, and {backend.transform} gives {len(transform)}"
        )
    enrol_z, test_z = (
        plda_space(
            plda,
            normalise_length(affine(transform, side.vectors - mean), side.names),
            side.counts,
            settings.normalize_length,
            settings.simple_length_norm,
        )
        for side in (enrol, test)
    )
    return plda_scores(plda.psi, enrol_z, enrol.counts, test_z, first, second)


def finite(path: Path, numbers: np.ndarray) -> np.ndarray:
    """`numbers`, those of the file at `path`; DataError where one is NaN or infinite."""
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: a number is not finite; train the back-end again")
    return numbers


def write_scores(path: Path, enrol: Sequence[str], test: Sequence[str], scores: np.ndarray) -> None:
    """Write "enrol test score" lines; DataError names a trial whose score is not a number."""
    for index in np.flatnonzero(~np.isfinite(scores))[:1]:
        raise DataError(
            f"{path}: trial {enrol[index]} {test[index]} has the score {scores[index]}; check the back-end"
        )
    with replacing(path) as file:
        file.writelines(f"{e} {t} {s:.9g}\n" for e, t, s in zip(enrol, test, scores.tolist(), strict=True))
