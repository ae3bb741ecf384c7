"""What a teacher's targets have in common: which say the same (redundant), which do not (complementary).

All is computed in float64 from sums over the views, read once after their means; memory is that of FOLDS + 3
matrices (D, D), D the size of all parts together. Parts are taken as they were dumped, less their means; CKA
and R^2 weigh directions by their variance, canonical correlations do not. Held-out figures are of speakers
that a fit has not seen, and leave offsets between the folds aside; the ridge alone is chosen on them, which
favours R^2 a little. Logits are a function of `xvector` with a
dimension for each speaker, and are not analysed.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import entr

from spkdistill.distill.logits import size
from spkdistill.distill.targets import TargetReader
from spkdistill.errors import DataError
from spkdistill.files import write_json
from spkdistill.progress import progress
from spkdistill.views import Views, read_views

FOLDS = 5  # of the speakers, or as many as there are
KEPT = 0.99  # share of a part's variance in the principal axes that canonical correlations are sought in
RIDGES = np.logspace(-6, 2, 17)  # of the mean variance of a dimension
CHUNK = 1024  # views
DIGITS = 6  # after the point: below them lies the order of a processor's sums


class Moments(NamedTuple):
    """Sums over some views of z (D,), the parts of a view side by side less their means."""

    count: int
    total: np.ndarray  # (D,), of z
    outer: np.ndarray  # (D, D), of z z'

    def scatter(self, rows: slice, columns: slice) -> np.ndarray:
        """The sum of (z - m)(z - m)', m the mean over these views, between two parts."""
        offset = np.outer(self.total[rows], self.total[columns]) / self.count
        return self.outer[rows, columns] - offset


class Sums(NamedTuple):
    """What one pass over the cache gives; every view of a speaker is in one fold."""

    folds: list[Moments]
    between: np.ndarray  # (parts,), the sum over the views of |m_speaker - m|^2
    norms: np.ndarray  # (parts, parts), the sum over the views of |x|^2 |y|^2


class Axes(NamedTuple):
    """The principal axes of a part: the scatter is `vectors diag(values) vectors'`."""

    values: np.ndarray  # (dim,), falling
    vectors: np.ndarray  # (dim, dim), in columns


class HeldOut(NamedTuple):
    """Figures of each two parts from speakers that were not fitted: row x, column y."""

    correlation: np.ndarray  # (parts, parts), the mean canonical correlation
    r2: np.ndarray  # (parts, parts), of y predicted from x; nothing where they are the same


def analyse(views_path: str | Path, scps: Mapping[str, str | Path], output: str | Path) -> None:
    """Analyse the targets `scps`, {part: scp}, of the views, and write `output`:

    {views, speakers, folds,
     parts: [{part, dim, effective_rank, participation_ratio, between_speaker_share}],
     pairs: [{parts: [x, y], cka, canonical_correlation, r2: [of x from y, of y from x]}]}

    DataError where targets are missing, damaged or all the same, or too few.
    """
    views, reader = read_views(views_path), TargetReader(scps, mean_norm=True)
    names, speakers = np.unique(views.speakers, return_inverse=True)
    if len(names) < 2 or len(views) < 4:
        raise DataError(
            f"{views_path}: {len(views)} views of {len(names)} speakers; an analysis needs 4 of 2 or more"
        )
    slices = part_slices(reader)
    parts, places = list(slices), list(slices.values())
    sums = accumulate(reader, views, speakers, places)
    whole = added(sums.folds)
    for part, place in slices.items():
        if not whole.scatter(place, place).any():
            raise DataError(f"{scps[part]}: the same for all views; leave {part} out")
    cka, held_out = unbiased_cka(whole, sums.norms, places), judged(sums.folds, places)
    write_json(
        output,
        {
            "views": len(views),
            "speakers": len(names),
            "folds": len(sums.folds),
            "parts": [
                {"part": part, **described(whole.scatter(place, place), between)}
                for part, place, between in zip(parts, places, sums.between, strict=True)
            ],
            "pairs": [
                {
                    "parts": [parts[x], parts[y]],
                    "cka": rounded(cka[x, y]),
                    "canonical_correlation": rounded(held_out.correlation[x, y]),
                    "r2": [rounded(held_out.r2[y, x]), rounded(held_out.r2[x, y])],
                }
                for x, y in combinations(range(len(parts)), 2)
            ],
        },
    )


def part_slices(reader: TargetReader) -> dict[str, slice]:
    """Where each part lies among all of them side by side."""
    places, start = {}, 0
    for part in reader.parts:
        places[part] = slice(start, start + size(reader.readers[part]))
        start = places[part].stop
    return places


def accumulate(reader: TargetReader, views: Views, speakers: np.ndarray, places: list[slice]) -> Sums:
    """The sums over all views; `speakers` (views,) are integers from 0."""
    counts, dim, starts = np.bincount(speakers), places[-1].stop, [place.start for place in places]
    folds = min(FOLDS, len(counts))
    of_speaker = np.zeros((len(counts), dim))
    totals, outers = np.zeros((folds, dim)), np.zeros((folds, dim, dim))
    norms = np.zeros((len(places),) * 2)
    chunks = list(chunks_of(speakers, folds))
    for fold, chunk in progress(chunks, len(chunks), "analyse", f"chunks of {CHUNK} views"):
        ids = [views.ids[index] for index in chunk]
        vectors = np.hstack(
            [reader.gather(part, ids).astype(np.float64) - reader.means[part] for part in reader.parts]
        )
        totals[fold] += vectors.sum(axis=0)
        outers[fold] += vectors.T @ vectors
        squares = np.add.reduceat(vectors**2, starts, axis=1)
        norms += squares.T @ squares
        present, first = np.unique(speakers[chunk], return_index=True)
        of_speaker[present] += np.add.reduceat(vectors, first, axis=0)
    means, mean = of_speaker / counts[:, None], totals.sum(axis=0) / len(views)
    between = counts @ np.add.reduceat((means - mean) ** 2, starts, axis=1)
    sizes = np.bincount(speakers % folds)
    return Sums([Moments(*parts) for parts in zip(sizes, totals, outers, strict=True)], between, norms)


def chunks_of(speakers: np.ndarray, folds: int) -> Iterator[tuple[int, np.ndarray]]:
    """(fold, indices of some of its views): the views of a speaker follow each other."""
    order = np.argsort(speakers, kind="stable")
    for fold in range(folds):
        members = order[speakers[order] % folds == fold]
        yield from ((fold, members[start : start + CHUNK]) for start in range(0, len(members), CHUNK))


def added(moments: list[Moments]) -> Moments:
    """The moments of several sets of views together."""
    return Moments(*map(sum, zip(*moments, strict=True)))


def described(scatter: np.ndarray, between: float) -> dict[str, int | float]:
    """A part by its scatter and that of its speakers' means.

    effective_rank: exp(H(p)), p the singular values of the centred matrix (views, dim) over their sum (Roy
    and Vetterli, EUSIPCO 2007); participation_ratio: (sum l)^2 / sum l^2, l the eigenvalues of the
    covariance; between_speaker_share: the trace of the scatter between speakers over that of all (eta^2).
    """
    variances = np.maximum(np.linalg.eigvalsh(scatter), 0)
    shares = np.sqrt(variances) / np.sqrt(variances).sum()
    return {
        "dim": len(scatter),
        "effective_rank": rounded(np.exp(entr(shares).sum())),
        "participation_ratio": rounded(variances.sum() ** 2 / (variances**2).sum()),
        "between_speaker_share": rounded(between / np.trace(scatter)),
    }


def unbiased_cka(whole: Moments, norms: np.ndarray, places: list[slice]) -> np.ndarray:
    """Linear CKA (Kornblith et al., arXiv 1905.00414) of each two parts, (parts, parts).

    HSIC is the unbiased estimate (Song et al., JMLR 2012, eq. 5; in CKA arXiv 2010.15327), near 0 for
    unrelated parts however wide: of K = XX' and L = YY' with their diagonals set to zero,
    n (n-3) HSIC = tr KL + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1. For centred X and Y, with
    q = sum |x|^2 |y|^2: tr KL = |X'Y|^2 - q, 1'K1 = -tr X'X and 1'KL1 = q. The factor n (n-3) cancels.
    """
    n = whole.count
    cross = np.array([[np.sum(whole.scatter(x, y) ** 2) for y in places] for x in places])
    traces = np.array([np.trace(whole.scatter(x, x)) for x in places])
    hsic = cross - norms + np.outer(traces, traces) / ((n - 1) * (n - 2)) - 2 * norms / (n - 2)
    scale = np.sqrt(np.diag(hsic))
    return hsic / np.outer(scale, scale)


def judged(folds: list[Moments], places: list[slice]) -> HeldOut:
    """Each fold in turn is held out: the fits are of the others, the figures of it."""
    parts = range(len(places))
    correlation = np.zeros((len(folds), len(parts), len(parts)))
    errors, scatters = np.zeros((len(parts), len(parts), len(RIDGES))), np.zeros(len(parts))
    for number, test in enumerate(folds):
        train = added(folds[:number] + folds[number + 1 :])
        axes = [principal_axes(train.scatter(place, place)) for place in places]
        own = [test.scatter(place, place) for place in places]
        scatters += [np.trace(scatter) for scatter in own]
        for x in parts:
            within = axes[x].vectors.T @ own[x] @ axes[x].vectors
            for y in parts:
                if x == y:
                    continue
                cross, test_cross = (moments.scatter(places[x], places[y]) for moments in (train, test))
                errors[x, y] += ridge_errors(axes[x], within, cross, test_cross)
                if x < y:
                    variates = canonical_variates(axes[x], axes[y], cross)
                    found = mean_correlation(*variates, own[x], own[y], test_cross)
                    correlation[number, x, y] = correlation[number, y, x] = found
    return HeldOut(correlation.mean(axis=0), -errors.min(axis=2) / scatters)


def principal_axes(scatter: np.ndarray) -> Axes:
    """The eigenvectors of a scatter, those of the largest eigenvalues first."""
    values, vectors = np.linalg.eigh(scatter)
    return Axes(np.maximum(values[::-1], 0), vectors[:, ::-1])


def ridge_errors(axes: Axes, within: np.ndarray, cross: np.ndarray, test_cross: np.ndarray) -> np.ndarray:
    """The squared error of y predicted from x, less the scatter of y, on held-out views: one for each ridge.

    With the scatters S of the fit and T of the held-out views, S_xx = V diag(l) V' and `within` V'T_xx V:
    W = V diag(1 / (l + ridge)) V'S_xy, and the error is tr W'T_xx W - 2 tr W'T_xy + tr T_yy.
    """
    fitted, wanted = axes.vectors.T @ cross, axes.vectors.T @ test_cross
    quadratic = within * (fitted @ fitted.T)
    linear = (fitted * wanted).sum(axis=1)
    weights = 1 / (axes.values + axes.values.mean() * RIDGES[:, None])  # (ridges, dim)
    return ((weights @ quadratic) * weights).sum(axis=1) - 2 * weights @ linear


def canonical_variates(
    x: Axes, y: Axes, cross: np.ndarray, kept: float = KEPT
) -> tuple[np.ndarray, np.ndarray]:
    """A (dim x, k) and B (dim y, k) of the canonical pairs A'x and B'y, among the first principal axes.

    The axes are those that hold the share `kept` of the variance, as in SVCCA (arXiv 1706.05806).
    """
    whiten_x, whiten_y = whitening(x, kept), whitening(y, kept)
    left, _, right = np.linalg.svd(whiten_x.T @ cross @ whiten_y, full_matrices=False)
    return whiten_x @ left, whiten_y @ right.T


def whitening(axes: Axes, kept: float) -> np.ndarray:
    """(dim, k): the principal axes that hold the share `kept` of the variance, each scaled to variance 1."""
    share = np.cumsum(axes.values) / axes.values.sum()
    rank = np.count_nonzero(axes.values > axes.values[0] * len(axes.values) * np.finfo(np.float64).eps)
    count = min(np.searchsorted(share, kept) + 1, rank)
    return axes.vectors[:, :count] / np.sqrt(axes.values[:count])


def mean_correlation(
    a: np.ndarray, b: np.ndarray, own_x: np.ndarray, own_y: np.ndarray, cross: np.ndarray
) -> float:
    """The mean over the columns of A (dim x, k) and B (dim y, k) of the correlation of a'x and b'y."""
    covariance = ((cross.T @ a) * b).sum(axis=0)
    scale = np.sqrt(((own_x @ a) * a).sum(axis=0) * ((own_y @ b) * b).sum(axis=0))
    return float(np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0).mean())


def rounded(value: float) -> float:
    """A figure as it is written."""
    return round(float(value), DIGITS)
