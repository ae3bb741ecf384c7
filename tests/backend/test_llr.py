"""Scores against Gaussian densities evaluated directly, and matrix products against single ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from spkdistill.backend import llr
from spkdistill.backend.llr import pair_products, plda_pairs, plda_space
from spkdistill.backend.plda import Plda
from spkdistill.backend.vectors import affine, normalise_length
from spkdistill.errors import DataError


def model(size, seed):
    rng = np.random.default_rng(seed)
    return Plda(
        rng.normal(size=size), rng.normal(size=(size, size)), np.sort(rng.gamma(1, 2, size=size))[::-1]
    )


def test_scores_are_log_ratios_of_gaussian_densities_of_all_the_utterances():
    """ln p(enrolled and test, one speaker) - ln p(enrolled) - ln p(test), in the space of the vectors."""
    plda = model(2, seed=0)
    inverse = np.linalg.inv(plda.transform)
    between, within = inverse * plda.psi @ inverse.T, inverse @ inverse.T

    def density(utterances):
        number = len(utterances)
        joint = np.kron(np.ones((number, number)), between) + np.kron(np.eye(number), within)
        return multivariate_normal(np.tile(plda.mean, number), joint).logpdf(np.ravel(utterances))

    rng = np.random.default_rng(1)
    sides = [(rng.normal(size=(n, 2)), rng.normal(size=2)) for n in (1, 1, 2, 5, 2, 3)]
    expected = [density([*enrol, test]) - density(enrol) - density([test]) for enrol, test in sides]
    means = np.array([enrol.mean(axis=0) for enrol, _ in sides])
    counts = np.array([len(enrol) for enrol, _ in sides])
    enrol_z = plda_space(plda, means, counts, normalize_length=False)
    test_z = plda_space(plda, np.array([test for _, test in sides]), 1, normalize_length=False)
    order = np.array([4, 0, 3, 1, 5, 2])
    scores = plda_pairs(plda.psi, enrol_z, counts, test_z).of(order, order)
    np.testing.assert_allclose(scores, np.array(expected)[order], rtol=1e-10, atol=1e-10)


def test_normalised_vectors_have_the_expected_length():
    plda = model(5, seed=2)
    vectors, counts = np.random.default_rng(3).normal(size=(7, 5)), np.array([1, 2, 3, 4, 5, 6, 7])
    z = plda_space(plda, vectors, counts, normalize_length=True)
    np.testing.assert_allclose((z**2 / (plda.psi + 1 / counts[:, None])).sum(axis=1), 5)
    simple = plda_space(plda, vectors, counts, normalize_length=True, simple=True)
    np.testing.assert_allclose(np.linalg.norm(simple, axis=1), np.sqrt(5))
    np.testing.assert_allclose(simple / z, np.broadcast_to((simple / z)[:, :1], z.shape))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(1, 60), st.integers(1, 40), st.integers(0, 2**32 - 1)
)
def test_matrix_and_row_products_are_the_scalar_products_of_the_pairs(enrol, test, trials, block, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(enrol, 3)), rng.normal(size=(test, 3))
    first, second = rng.integers(enrol, size=trials), rng.integers(test, size=trials)
    expected = [left[i] @ right[j] for i, j in zip(first, second, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llr, "BLOCK_PAIRS", block)
        patch.setattr(llr, "BLOCK_ROWS", block)
        for dense in (0, 10**6):
            patch.setattr(llr, "DENSE", dense)
            np.testing.assert_allclose(pair_products(left, right, first, second), expected, atol=1e-12)


@pytest.mark.parametrize("trials", [500, 50], ids=["by matrix products", "row by row"])
def test_a_part_of_a_list_has_its_scores_to_the_last_bit(trials):
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(60, 150)), rng.normal(size=(60, 150))
    first, second = rng.integers(60, size=(2, trials))
    whole = pair_products(left, right, first, second)
    for count in (1, 3, 7, 40):
        for start in range(0, trials, count):
            part = slice(start, start + count)
            scores = pair_products(left, right, first[part], second[part], listed=trials)
            assert np.array_equal(scores, whole[part])


def test_length_normalisation_names_a_vector_without_direction():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(normalise_length(vectors[:1], ["a"]), [[0.6 * 2**0.5, 0.8 * 2**0.5]])
    with pytest.raises(DataError, match=r"^b:"):
        normalise_length(vectors, ["a", "b"])


def test_a_transform_for_other_dimensions_is_refused():
    with pytest.raises(DataError, match="dimensions"):
        affine(np.ones((2, 7)), np.ones((3, 4)))
