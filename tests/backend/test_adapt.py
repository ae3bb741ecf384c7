"""PLDA adaptation against what it promises of covariances."""

import numpy as np
import pytest

from spkdistill.backend.adapt import adapt_plda
from spkdistill.backend.plda import Plda, project
from spkdistill.errors import DataError


def model(size, seed):
    rng = np.random.default_rng(seed)
    psi = np.sort(rng.gamma(1, 2, size=size))[::-1]
    return Plda(rng.normal(size=size), rng.normal(size=(size, size)), psi)


def covariances(plda):
    """Within-class and between-class."""
    back = np.linalg.inv(plda.transform)
    return back @ back.T, back * plda.psi @ back.T


def draw(plda, total, number, seed):
    """Vectors whose mean is the model's and whose covariance is `total`, exactly."""
    vectors = np.random.default_rng(seed).normal(size=(number, len(total)))
    vectors -= vectors.mean(axis=0)
    whitening = np.linalg.inv(np.linalg.cholesky(vectors.T @ vectors / number))
    return vectors @ whitening.T @ np.linalg.cholesky(total).T + plda.mean


def test_where_vectors_vary_more_the_total_covariance_becomes_theirs():
    plda = model(4, seed=0)
    within, between = covariances(plda)
    theirs = 2.5 * (within + between)
    adapted = adapt_plda(plda, draw(plda, theirs, 50, seed=1), 1.0, 0.3, 0.7)
    new_within, new_between = covariances(adapted)
    np.testing.assert_allclose(new_within + new_between, theirs, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(new_within - within, 0.3 * 1.5 * (within + between), rtol=1e-8, atol=1e-9)


def test_where_vectors_vary_less_only_the_mean_changes():
    plda = model(4, seed=2)
    vectors = draw(plda, 0.5 * sum(covariances(plda)), 50, seed=3) + 0.01
    adapted = adapt_plda(plda, vectors, 0.0, 0.3, 0.7)
    np.testing.assert_allclose(adapted.mean, plda.mean + 0.01, rtol=1e-9)
    for ours, before in zip(covariances(adapted), covariances(plda), strict=True):
        np.testing.assert_allclose(ours, before, rtol=1e-9, atol=1e-9)


def test_a_shifted_mean_counts_as_variance_in_its_direction():
    plda = Plda(np.zeros(2), np.eye(2), np.array([1.0, 0.5]))
    vectors = draw(plda, np.diag([2.0, 1.5]), 50, seed=4) + np.array([3.0, 0.0])
    adapted = adapt_plda(plda, vectors, 1.0, 1.0, 0.0)
    within, between = covariances(adapted)
    np.testing.assert_allclose(within, np.diag([1 + 9.0, 1.0]), atol=1e-9)
    np.testing.assert_allclose(between, np.diag([1.0, 0.5]), atol=1e-9)


def test_one_vector_is_refused():
    with pytest.raises(DataError, match="adaptation needs two embeddings or more, found 1"):
        adapt_plda(model(2, seed=0), np.ones((1, 2)), 1.0, 0.3, 0.7)


def test_a_projected_model_has_the_projected_covariances():
    plda, transform = model(5, seed=5), np.random.default_rng(6).normal(size=(3, 5))
    projected = project(plda, transform)
    for ours, whole in zip(covariances(projected), covariances(plda), strict=True):
        np.testing.assert_allclose(ours, transform @ whole @ transform.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(projected.mean, transform @ plda.mean)
