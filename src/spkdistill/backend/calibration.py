"""Linear logistic calibration and fusion: scores become natural-log likelihood ratios.

Brummer and du Preez, "Application-independent evaluation of speaker detection", 2006; BOSARIS Toolkit.
"""

import logging
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from spkdistill.errors import DataError

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
    l = fused score + logit(prior): at prior 1/2 it is Cllr. DataError where there is one class only, or a
    system gives every trial the same score.
    """
    for label, found in (("target", target.any()), ("non-target", not target.all())):
        if not found:
            raise DataError(f"there is no scored {label} trial; calibration needs both kinds")
    mean, deviation = scores.mean(axis=0), scores.std(axis=0)
    if not (deviation > 0).all():
        raise DataError("a system gives every trial the same score, so there is nothing to calibrate")
    inputs = np.column_stack([(scores - mean) / deviation, np.ones(len(scores))])
    sign = np.where(target, 1.0, -1.0)
    weight = np.where(target, prior / target.sum(), (1 - prior) / (~target).sum())
    shift = logit(prior)
    ridge = RIDGE * np.append(np.ones(scores.shape[1]), 0)

    def entropy(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (inputs @ parameters + shift)
        gradient = inputs.T @ (-weight * sign * expit(-margin))
        loss = weight @ np.logaddexp(0, -margin) + ridge @ parameters**2 / 2
        return loss, gradient + ridge * parameters

    def curvature(parameters: np.ndarray) -> np.ndarray:
        share = expit(inputs @ parameters + shift)
        return (inputs * (weight * share * (1 - share))[:, None]).T @ inputs + np.diag(ridge)

    start = np.zeros(inputs.shape[1])
    found = minimize(entropy, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-10})
    weights = found.x[:-1] / deviation
    fusion = Fusion(weights, float(found.x[-1] - weights @ mean))
    fused = fusion.apply(scores)
    if fused[target].min() > fused[~target].max():
        log.warning("calibration: the classes do not overlap, so the scale of the scores is arbitrary")
    return fusion
