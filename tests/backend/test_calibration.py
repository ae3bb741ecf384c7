"""Calibration and fusion against scores whose log likelihood ratio is known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from spkdistill.backend.calibration import train_fusion
from spkdistill.errors import ConfigError, DataError


def gaussian(rng, number, separation):
    """Scores that are their own log likelihood ratio: N(+-d^2/2, d^2)."""
    target = np.arange(number) < number // 4
    return rng.normal(np.where(target, 1, -1) * separation**2 / 2, separation), target


@pytest.mark.parametrize("scale", [1e-300, 1e-6, 1.0, 1e6, 1e300])
def test_scores_of_any_scale_give_the_same_log_likelihood_ratios(scale):
    scores, target = gaussian(np.random.default_rng(5), 2000, 1.5)
    fused = train_fusion(scores[:, None], target, 0.5).apply(scores[:, None])
    scaled = scores[:, None] * scale
    np.testing.assert_allclose(train_fusion(scaled, target, 0.5).apply(scaled), fused, rtol=1e-6, atol=1e-6)


def test_a_small_prior_is_fitted_as_closely_as_another():
    scores, target = gaussian(np.random.default_rng(6), 20_000, 1.5)
    weight = {prior: train_fusion(scores[:, None], target, prior).weights[0] for prior in (1e-4, 1e-6, 1e-8)}
    assert weight[1e-6] == pytest.approx(weight[1e-8], rel=0.01)
    assert weight[1e-8] > 0.8


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, 2.0, np.nan])
def test_a_prior_outside_its_range_is_refused(prior):
    with pytest.raises(ConfigError, match=r"prior: .* is not allowed"):
        train_fusion(np.array([[1.0], [2.0]]), np.array([True, False]), prior)


@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_a_log_likelihood_ratio_is_recovered_from_its_scaled_and_shifted_form(prior):
    scores, target = gaussian(np.random.default_rng(0), 200_000, 1.5)
    fusion = train_fusion((4 * scores - 7)[:, None], target, prior)
    assert fusion.weights == pytest.approx([0.25], rel=0.02)
    assert fusion.offset == pytest.approx(7 / 4, abs=0.04)
    np.testing.assert_allclose(fusion.apply((4 * scores - 7)[:, None]), scores, atol=0.3)


def test_independent_systems_are_summed():
    """The log likelihood ratio of independent observations is the sum of theirs."""
    rng = np.random.default_rng(1)
    (first, target), (second, _) = gaussian(rng, 200_000, 1.0), gaussian(rng, 200_000, 2.0)
    fusion = train_fusion(np.column_stack([first / 3, second]), target, 0.5)
    assert fusion.weights == pytest.approx([3, 1], rel=0.03)
    assert fusion.offset == pytest.approx(0, abs=0.03)


def test_no_other_weights_have_a_lower_cross_entropy():
    rng = np.random.default_rng(2)
    scores, target = rng.normal(size=(300, 3)), rng.random(300) < 0.3
    scores[target] += [1.0, 0.2, 0.0]
    prior = 0.2

    def entropy(parameters):
        log_odds = scores @ parameters[:-1] + parameters[-1] + np.log(prior / (1 - prior))
        misses, alarms = np.log1p(np.exp(-log_odds[target])), np.log1p(np.exp(log_odds[~target]))
        return prior * misses.mean() + (1 - prior) * alarms.mean()

    best = minimize(
        entropy, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 9000}
    )
    fusion = train_fusion(scores, target, prior)
    np.testing.assert_allclose([*fusion.weights, fusion.offset], best.x, atol=1e-4)


def test_classes_that_do_not_overlap_give_finite_weights_and_a_warning(caplog):
    scores = np.array([[-3.0], [-2.0], [1.0], [4.0]])
    fusion = train_fusion(scores, scores[:, 0] > 0, 0.5)
    assert 0 < fusion.weights[0] < np.inf
    assert "do not overlap" in caplog.text


@pytest.mark.parametrize(
    ("scores", "target", "problem"),
    [
        ([[1.0], [2.0]], [True, True], "no scored non-target trial"),
        ([[1.0], [2.0]], [False, False], "no scored target trial"),
        ([[1.0, 3.0], [2.0, 3.0]], [True, False], "the same score"),
        ([[1.0, 0.1]] * 4 + [[2.0, 0.1]] * 7, [True] * 4 + [False] * 7, "the same score"),
        ([[7.3]] * 11, [True] * 4 + [False] * 7, "the same score"),
        ([[0.0]] * 3, [True, False, False], "the same score"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, target, problem):
    with pytest.raises(DataError, match=problem):
        train_fusion(np.array(scores), np.array(target), 0.5)
