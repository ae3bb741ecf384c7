"""Scores of trials given as pairs of row numbers: PLDA log likelihood ratios and cosines.

Both are sums over dimensions of products of an enrolled and a tested vector, so a list of trials is a few
matrix products, or row-by-row products where the list is a small part of all pairs.
"""

from itertools import pairwise

import numpy as np

from spkdistill.backend.plda import Plda

DENSE = 32  # a pair in a matrix product costs about 1/32 of a trial whose two rows are fetched
BLOCK_PAIRS = 1 << 22  # products held at a time
BLOCK_ROWS = 4096  # trials whose rows are fetched at a time


def plda_space(
    plda: Plda, vectors: np.ndarray, counts: np.ndarray | int, normalize_length: bool, simple: bool = False
) -> np.ndarray:
    """z = A (x - mu), (N, D), of vectors that are means of `counts` utterances (Plda::TransformIvector).

    `normalize_length` scales z so that sum of z^2 / (psi + 1/n) is D, its mean; `simple`: sum of z^2.
    """
    z = (vectors - plda.mean) @ plda.transform.T
    if not normalize_length:
        return z
    variance = 1.0 if simple else plda.psi + 1 / np.broadcast_to(counts, len(z))[:, None]
    return z * np.sqrt(z.shape[1] / (z**2 / variance).sum(axis=1))[:, None]


def plda_scores(
    psi: np.ndarray,
    enrol: np.ndarray,
    counts: np.ndarray,
    test: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> np.ndarray:
    """Log likelihood ratios, (trials,), of enrol[first] and test[second], vectors of `plda_space`.

    enrol (E, D) are means of counts (E,) utterances (Plda::LogLikelihoodRatio). With n the count, u and v the
    two vectors, and sums over the dimensions:
        m = n psi u / (n psi + 1), s = 1 + psi / (n psi + 1)
        score = 1/2 sum [ln(1 + psi) + v^2 / (1 + psi)] - 1/2 sum [ln s + (v - m)^2 / s]
              = sum v m / s + 1/2 sum v^2 [1 / (1 + psi) - 1 / s] + 1/2 sum [ln(1 + psi) - ln s - m^2 / s]:
    a product of two vectors, a term of the test vector for each n, and a term of the enrolled one.
    """
    scores = np.empty(len(first))
    trial_counts = counts[first]
    for n in np.unique(trial_counts):
        chosen = np.flatnonzero(trial_counts == n)
        rows, row_of = np.unique(first[chosen], return_inverse=True)
        s = 1 + psi / (n * psi + 1)
        m = enrol[rows] * (n * psi / (n * psi + 1))
        test_term = test**2 @ (1 / (1 + psi) - 1 / s) / 2
        enrol_term = (np.log1p(psi).sum() - np.log(s).sum() - m**2 @ (1 / s)) / 2
        products = pair_products(m / s, test, row_of, second[chosen])
        scores[chosen] = products + test_term[second[chosen]] + enrol_term[row_of]
    return scores


def pair_products(left: np.ndarray, right: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The scalar products left[first] . right[second], (trials,), of rows of (E, D) and (T, D)."""
    if len(left) * len(right) > DENSE * len(first):
        return sparse_products(left, right, first, second)
    order = np.argsort(first, kind="stable")
    rows = max(1, BLOCK_PAIRS // len(right))
    bounds = np.searchsorted(first[order], np.arange(0, len(left) + rows, rows))
    products = np.empty(len(first))
    for block, (start, stop) in enumerate(pairwise(bounds)):
        pairs = left[block * rows : (block + 1) * rows] @ right.T
        chosen = order[start:stop]
        products[chosen] = pairs[first[chosen] - block * rows, second[chosen]]
    return products


def sparse_products(left: np.ndarray, right: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`pair_products` of a list that is a small part of all pairs: the rows of each trial, block by block."""
    products = np.empty(len(first))
    for start in range(0, len(first), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        products[block] = np.einsum("td,td->t", left[first[block]], right[second[block]])
    return products
