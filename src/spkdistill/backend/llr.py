"""Scores of enrolled and test vectors: PLDA log likelihood ratios, and cosines of vectors of length 1.

Both are a scalar product plus a term of each side, so that a list of trials is a few matrix products, or
row-by-row products where the list is a small part of all pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spkdistill.backend.plda import Plda

DENSE = 32  # a pair in a matrix product costs about 1/32 of a trial whose two rows are fetched
BLOCK_PAIRS = 1 << 22  # products held at a time
BLOCK_ROWS = 512  # vectors worked on at a time


@dataclass(frozen=True)
class PairScores:
    """The scores of all pairs, computed when asked for: of e enrolled from n_e utterances and t tested it is

    left[e] . right[t] + enrol_term[e] + test_terms[size[e], t].
    """

    left: np.ndarray  # (E, D)
    right: np.ndarray  # (T, D)
    enrol_term: np.ndarray  # (E,)
    test_terms: np.ndarray  # (S, T), one row for each number of utterances that occurs
    size: np.ndarray  # (E,) of 0..S-1

    def of(self, first: np.ndarray, second: np.ndarray, listed: int | None = None) -> np.ndarray:
        """The scores, (trials,), of the pairs of rows (first, second).

        `listed` is the length of the list that these trials are a part of: each has the score, to
        the last bit, that it has with the whole list.
        """
        products = pair_products(self.left, self.right, first, second, listed)
        products += self.enrol_term[first]
        products += self.test_terms[self.size[first], second]
        return products

    def all(self) -> np.ndarray:
        """The scores of every pair, (E, T)."""
        scores = self.left @ self.right.T
        scores += self.enrol_term[:, None]
        scores += self.test_terms[self.size]
        return scores


def cosine_pairs(enrol: np.ndarray, test: np.ndarray) -> PairScores:
    """The cosines of enrol (E, D) and test (T, D), rows of length 1."""
    none = np.zeros(len(enrol), dtype=np.int64)
    return PairScores(enrol, test, np.zeros(len(enrol)), np.zeros((1, len(test))), none)


def plda_pairs(psi: np.ndarray, enrol: np.ndarray, counts: np.ndarray, test: np.ndarray) -> PairScores:
    """Log likelihood ratios (Plda::LogLikelihoodRatio) of vectors of `plda_space`.

    enrol (E, D) are means of counts (E,) utterances, test (T, D) single ones. With n the count, u and v the
    two vectors, and sums over the dimensions:
        m = n psi u / (n psi + 1), s = 1 + psi / (n psi + 1)
        score = 1/2 sum [ln(1 + psi) + v^2 / (1 + psi)] - 1/2 sum [ln s + (v - m)^2 / s]
              = sum v m / s + 1/2 sum v^2 [1 / (1 + psi) - 1 / s] + 1/2 sum [ln(1 + psi) - ln s - m^2 / s]
    """
    sizes, size = np.unique(counts, return_inverse=True)
    n = sizes[:, None]
    gain, s = n * psi / (n * psi + 1), 1 + psi / (n * psi + 1)  # (S, D), m = gain u
    test_weights = (1 / (1 + psi) - 1 / s) / 2
    constant = (np.log1p(psi).sum() - np.log(s).sum(axis=1)) / 2
    scale = gain / s  # m / s = scale u
    left, enrol_term = np.empty_like(enrol), np.empty(len(enrol))
    for rows in blocks(len(enrol)):
        u, of = enrol[rows], size[rows]
        np.multiply(u, scale[of], out=left[rows])
        enrol_term[rows] = constant[of] - np.einsum("ed,ed->e", left[rows] * u, gain[of]) / 2
    test_terms = np.empty((len(sizes), len(test)))
    for rows in blocks(len(test)):
        test_terms[:, rows] = test_weights @ (test[rows] ** 2).T
    return PairScores(left, test, enrol_term, test_terms, size)


def plda_space(
    plda: Plda, vectors: np.ndarray, counts: np.ndarray | int, normalize_length: bool, simple: bool = False
) -> np.ndarray:
    """z = A (x - mu), (N, D), of vectors that are means of `counts` utterances (Plda::TransformIvector).

    `normalize_length` scales z so that sum of z^2 / (psi + 1/n) is D, its mean; `simple`: sum of z^2.
    """
    z = np.empty((len(vectors), len(plda.psi)))
    sizes, size = np.unique(np.broadcast_to(counts, len(z)), return_inverse=True)
    variance = np.ones_like(plda.psi) if simple else plda.psi + 1 / sizes[:, None]
    precision = np.broadcast_to(1 / variance, (len(sizes), len(plda.psi)))
    for rows in blocks(len(z)):
        block = np.matmul(vectors[rows] - plda.mean, plda.transform.T, out=z[rows])
        if normalize_length:
            squares = np.einsum("nd,nd->n", block * block, precision[size[rows]])
            block *= np.sqrt(z.shape[1] / squares)[:, None]
    return z


def blocks(rows: int) -> Iterator[slice]:
    """Slices of so few rows that what is made of them stays in the cache."""
    return (slice(first, first + BLOCK_ROWS) for first in range(0, rows, BLOCK_ROWS))


def pair_products(
    left: np.ndarray, right: np.ndarray, first: np.ndarray, second: np.ndarray, listed: int | None = None
) -> np.ndarray:
    """The scalar products left[first] . right[second], (trials,), of rows of (E, D) and (T, D)."""
    if len(left) * len(right) > DENSE * (len(first) if listed is None else listed):
        return sparse_products(left, right, first, second)
    order = np.argsort(first, kind="stable")
    rows = max(1, BLOCK_PAIRS // len(right))
    bounds = np.searchsorted(first[order], np.arange(0, len(left) + rows, rows))
    products = np.empty(len(first))
    for block, (start, stop) in enumerate(pairwise(bounds)):
        if start == stop:
            continue
        pairs = left[block * rows : (block + 1) * rows] @ right.T
        chosen = order[start:stop]
        products[chosen] = pairs[first[chosen] - block * rows, second[chosen]]
    return products


def sparse_products(left: np.ndarray, right: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """`pair_products` of a list that is a small part of all pairs: the rows of each trial, block by block."""
    products = np.empty(len(first))
    for block in blocks(len(first)):
        products[block] = np.einsum("td,td->t", left[first[block]], right[second[block]])
    return products
