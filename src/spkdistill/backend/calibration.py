"""Linear logistic calibration and fusion: scores become natural-log likelihood ratios.

Brummer and du Preez, "Application-independent evaluation of speaker detection", 2006; BOSARIS Toolkit.
"""

import logging
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from spkdistill.errors import ConfigError, DataError

GRADIENT = 1e-9  # of the loss, where the search ends
ROUNDING = 1e-9  # scores that differ by so small a share of the largest are one and the same
TINY = np.finfo(np.float64).tiny
RIDGE = 1e-8  # on weights of standardised scores: keeps them finite where the classes do not overlap

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fusion:
    """score = weights . scores of the systems + offset."""

    weights: np.ndarray  # (systems,)
    offset: float

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Fused scores, (trials,), of scores (trials, systems)."""
        return scores @ self.weights + self.offset


def train_fusion(scores: np.ndarray, target: np.ndarray, prior: float) -> Fusion:
    """The weights and offset, of scores (trials, systems) with labels (trials,), of least cross-entropy

    prior / targets sum_tar ln(1 + e^-l) + (1 - prior) / non-targets sum_non ln(1 + e^l), with
    l = fused score + logit(prior): at prior 1/2 it is Cllr, but for a factor ln 2. ConfigError for a prior
    outside (0, 1); DataError where there is one class only, a system gives every trial the same score, or no
    minimum is found.
    """
    if not 0 < prior < 1:
        raise ConfigError(f"prior: {prior} is not allowed; expected a number between 0 and 1")
    for label, found in (("target", target.any()), ("non-target", not target.all())):
        if not found:
            raise DataError(f"there is no scored {label} trial; calibration needs both kinds")
    largest = np.abs(scores).max(axis=0)
    if not (np.ptp(scores / np.maximum(largest, TINY), axis=0) > ROUNDING).all():
        raise DataError("a system gives every trial the same score, so there is nothing to calibrate")
    scaled = scores / largest
    mean, deviation = scaled.mean(axis=0), scaled.std(axis=0)
    inputs = np.column_stack([(scaled - mean) / deviation, np.ones(len(scores))])
    weights, offset = minimise_entropy(inputs, target, prior)
    fusion = Fusion(weights / deviation / largest, offset - float(weights @ (mean / deviation)))
    fused = fusion.apply(scores)
    if fused[target].min() > fused[~target].max():
        log.warning("calibration: the classes do not overlap, so the scale of the scores is arbitrary")
    return fusion


def minimise_entropy(inputs: np.ndarray, target: np.ndarray, prior: float) -> tuple[np.ndarray, float]:
    """Weights (systems,) and offset of standardised scores; a row of `inputs` has them and a 1 at its end."""
    sign, shift = np.where(target, 1.0, -1.0), logit(prior)
    # divided by the smaller prior, so that ridge and tolerance mean the same whatever the prior
    share = np.where(target, prior / target.sum(), (1 - prior) / (~target).sum()) / min(prior, 1 - prior)
    ridge = RIDGE * np.append(np.ones(inputs.shape[1] - 1), 0)

    def entropy(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (inputs @ parameters + shift)
        gradient = inputs.T @ (-share * sign * expit(-margin))
        return share @ np.logaddexp(0, -margin) + ridge @ parameters**2 / 2, gradient + ridge * parameters

    def curvature(parameters: np.ndarray) -> np.ndarray:
        posterior = expit(inputs @ parameters + shift)
        spread = share * posterior * (1 - posterior)
        return (inputs * spread[:, None]).T @ inputs + np.diag(ridge)

    start = np.append(np.zeros(inputs.shape[1] - 1), -shift)
    found = minimize(
        entropy, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": GRADIENT}
    )
    if not np.abs(entropy(found.x)[1]).max() < 100 * GRADIENT:
        raise DataError(f"calibration at prior {prior:g} found no minimum; choose a prior nearer to 0.5")
    return found.x[:-1], float(found.x[-1])
