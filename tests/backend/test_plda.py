"""PLDA against the plain form of EM, planted covariances, and its own files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.backend.plda import Plda, read_plda, smooth, train_plda, write_plda
from spkdistill.errors import DataError


def draw(between, within, counts, seed):
    """Vectors of the model with mean (1, 2, ...), and their classes."""
    rng = np.random.default_rng(seed)
    size = len(between)
    classes = np.repeat(np.arange(len(counts)), counts)
    speakers = rng.multivariate_normal(np.arange(1, size + 1), between, size=len(counts))
    return speakers[classes] + rng.multivariate_normal(np.zeros(size), within, size=len(classes)), classes


def covariance(rng, size, scale):
    root = rng.normal(size=(size, size))
    return scale * (root @ root.T / size + 0.2 * np.eye(size))


def covariances(plda):
    inverse = np.linalg.inv(plda.transform)
    return inverse * plda.psi @ inverse.T, inverse @ inverse.T


def plain_em(vectors, classes, iterations):
    """EM with an inverse for every class, as plda.cc writes it."""
    size, number = vectors.shape[1], classes.max() + 1
    means = np.array([vectors[classes == k].mean(axis=0) for k in range(number)])
    scatter = sum(np.outer(x - means[k], x - means[k]) for x, k in zip(vectors, classes, strict=True))
    centred = means - means.mean(axis=0)
    between = within = np.eye(size)
    for _ in range(iterations):
        new_between, new_within = np.zeros((size, size)), scatter.copy()
        for k in range(number):
            n = (classes == k).sum()
            posterior = np.linalg.inv(np.linalg.inv(between) + n * np.linalg.inv(within))
            w = posterior @ (n * np.linalg.inv(within) @ centred[k])
            rest = centred[k] - w
            new_between += posterior + np.outer(w, w)
            new_within += n * (posterior + np.outer(rest, rest))
        between, within = new_between / number, new_within / len(vectors)
    return between, within


def test_em_equals_its_plain_form_with_an_inverse_for_each_class():
    rng = np.random.default_rng(0)
    vectors, classes = draw(covariance(rng, 4, 2), covariance(rng, 4, 1), [1, 1, 2, 3, 3, 5, 8, 2], seed=1)
    plda = train_plda(vectors, classes, 7)
    between, within = covariances(plda)
    expected_between, expected_within = plain_em(vectors, classes, 7)
    np.testing.assert_allclose(between, expected_between, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(within, expected_within, rtol=1e-9, atol=1e-9)
    assert (np.diff(plda.psi) <= 0).all()


def test_em_finds_planted_covariances():
    rng = np.random.default_rng(2)
    between, within = covariance(rng, 5, 3), covariance(rng, 5, 1)
    vectors, classes = draw(between, within, rng.integers(2, 12, size=3000), seed=3)
    plda = train_plda(vectors, classes, 50)
    found_between, found_within = covariances(plda)
    np.testing.assert_allclose(found_between, between, atol=0.06 * np.abs(between).max())
    np.testing.assert_allclose(found_within, within, atol=0.03 * np.abs(within).max())
    np.testing.assert_allclose(plda.mean, np.arange(1, 6), atol=0.15)


def test_the_order_of_vectors_and_classes_does_not_matter():
    rng = np.random.default_rng(4)
    vectors, classes = draw(np.eye(3), np.eye(3), [2, 3, 4, 5, 6], seed=5)
    order, names = rng.permutation(len(vectors)), rng.permutation(5)
    first, second = train_plda(vectors, classes, 5), train_plda(vectors[order], names[classes[order]], 5)
    np.testing.assert_allclose(first.transform, second.transform, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(first.psi, second.psi, rtol=1e-8)


def test_smoothing_adds_a_share_of_the_between_covariance_to_that_within():
    vectors, classes = draw(np.diag([3.0, 1.0]), np.eye(2), [4] * 30, seed=6)
    plda = train_plda(vectors, classes, 5)
    between, within = covariances(plda)
    smoothed_between, smoothed_within = covariances(smooth(plda, 0.3))
    np.testing.assert_allclose(smoothed_between, between, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(smoothed_within, within + 0.3 * between, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("vectors", "classes", "message"),
    [
        (np.random.default_rng(0).normal(size=(4, 2)), [0, 0, 0, 0], "two speakers or more"),
        (np.random.default_rng(0).normal(size=(4, 2)), [0, 1, 2, 3], "one utterance only"),
        (np.random.default_rng(0).normal(size=(4, 3)), [0, 0, 1, 1], "singular"),
        (np.repeat(np.eye(3), 2, axis=0), [0, 0, 1, 1, 2, 2], "singular"),
    ],
)
def test_data_that_do_not_determine_the_model_are_refused(vectors, classes, message):
    with pytest.raises(DataError, match=message) as caught:
        train_plda(vectors, np.array(classes), 10)
    assert "\n" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_files_give_back_what_was_written(tmp_path_factory, size, seed, binary):
    rng = np.random.default_rng(seed)
    plda = Plda(rng.normal(size=size), rng.normal(size=(size, size)), np.sort(rng.gamma(1, size=size))[::-1])
    path = tmp_path_factory.mktemp("plda") / "plda"
    write_plda(path, plda, binary)
    again = read_plda(path)
    for part in ("mean", "transform", "psi"):
        np.testing.assert_allclose(getattr(again, part), getattr(plda, part), rtol=0 if binary else 1e-6)


@pytest.mark.parametrize("cut", [0, 3, 20, 90, -3])
def test_a_file_cut_short_is_refused_by_name(tmp_path, cut):
    path = tmp_path / "plda"
    write_plda(path, Plda(np.zeros(3), np.eye(3), np.ones(3)))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="plda"):
        read_plda(path)


@pytest.mark.parametrize(
    "plda", [Plda(np.zeros(2), np.eye(3), np.ones(3)), Plda(np.zeros(2), np.eye(2), np.array([1.0, np.nan]))]
)
def test_a_file_whose_parts_do_not_fit_or_are_not_finite_is_refused(tmp_path, plda):
    write_plda(tmp_path / "plda", plda)
    with pytest.raises(DataError, match=r"differ|not finite"):
        read_plda(tmp_path / "plda")
