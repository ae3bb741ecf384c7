"""LDA against scipy's generalised eigenvectors, and on data that has no answer."""

import logging

import numpy as np
import pytest
import scipy.linalg

from spkdistill.backend.lda import train_lda
from spkdistill.errors import DataError


def draw(speakers=12, utterances=10, size=6, seed=0):
    rng = np.random.default_rng(seed)
    classes = np.repeat(np.arange(speakers), utterances)
    mixing = rng.normal(size=(size, size))
    vectors = (
        rng.normal(size=(speakers, size))[classes] * 2 + rng.normal(size=(len(classes), size)) @ mixing + 3
    )
    return vectors, classes


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0])
def test_rows_are_the_leading_generalised_eigenvectors_and_the_offset_moves_the_mean_to_zero(factor):
    vectors, classes = draw()
    transform = train_lda(vectors, classes, 3, factor).astype(np.float64)
    total = np.cov(vectors.T, bias=True)
    within = sum(np.cov(vectors[classes == k].T, bias=True) for k in range(12)) / 12
    whitened = (1 - factor) * within + factor * total
    _, expected = scipy.linalg.eigh(total - within, whitened)  # columns with v' whitened v = 1, ascending
    overlap = transform[:, :-1] @ whitened @ expected[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(overlap), np.eye(3), atol=1e-6)
    np.testing.assert_allclose(transform[:, :-1] @ vectors.mean(axis=0), -transform[:, -1], atol=1e-5)


def test_signs_do_not_depend_on_the_order_of_the_vectors():
    vectors, classes = draw()
    order = np.random.default_rng(1).permutation(len(vectors))
    first, second = train_lda(vectors, classes, 4, 0.0), train_lda(vectors[order], classes[order], 4, 0.0)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_more_dimensions_than_speakers_differ_in_are_not_kept_and_that_is_logged(caplog):
    vectors, classes = draw(speakers=4)
    with caplog.at_level(logging.WARNING):
        assert train_lda(vectors, classes, 5, 0.0).shape == (3, 7)
    assert "lda_dim 5" in caplog.text


def test_a_dimension_that_is_always_the_same_is_harmless():
    vectors, classes = draw()
    dead = np.insert(vectors, 2, 1.5, axis=1)
    np.testing.assert_allclose(
        np.delete(train_lda(dead, classes, 3, 0.0), 2, axis=1), train_lda(vectors, classes, 3, 0.0), atol=1e-5
    )


def test_speakers_without_variance_inside_are_refused():
    vectors, classes = draw()
    vectors[:, 2] = classes  # tells speakers apart without error
    with pytest.raises(DataError, match="singular"):
        train_lda(vectors, classes, 3, 0.0)


def test_too_few_utterances_for_the_dimension_are_refused():
    vectors, classes = draw(speakers=5, utterances=2, size=8)
    with pytest.raises(DataError, match=r"singular \(8 dimensions, 10 utterances, 5 speakers\)"):
        train_lda(vectors, classes, 3, 0.0)


@pytest.mark.parametrize(
    ("classes", "message"), [([0] * 6, "two speakers"), (range(6), "one utterance only")]
)
def test_one_speaker_or_one_utterance_each_is_refused(classes, message):
    with pytest.raises(DataError, match=message):
        train_lda(np.random.default_rng(0).normal(size=(6, 2)), np.array(classes), 1, 0.0)
