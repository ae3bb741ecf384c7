"""What SpeechBrain and scikit-learn offer, with the inputs and outputs of ours.

A PLDA model is (mean, F, Sigma) there: x = mean + F h + e with h ~ N(0, I) and e ~ N(0, Sigma), so that
F F' is our B and Sigma our W.
"""

import numpy as np
import torch
from sklearn.metrics import roc_curve
from speechbrain.processing.PLDA_LDA import PLDA, Ndx, StatObject_SB, fast_PLDA_scoring
from speechbrain.utils.metric_stats import EER, minDCF

from spkdistill.backend.plda import Plda

Model = tuple[np.ndarray, np.ndarray, np.ndarray]


def model_of(plda: Plda) -> Model:
    """Our model as SpeechBrain's."""
    back = np.linalg.inv(plda.transform)
    return plda.mean, back * np.sqrt(plda.psi), back @ back.T


def train(vectors: np.ndarray, speakers: np.ndarray, iterations: int) -> Model:
    """SpeechBrain's EM, with as many eigenvoices as dimensions."""
    plda = PLDA(rank_f=vectors.shape[1], nb_iter=iterations)
    plda.plda(statistics(vectors, speakers))
    return plda.mean, plda.F, plda.Sigma


def llrs(model: Model, enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
    """SpeechBrain's scores of all pairs, (E, T), without its check of names, which would take longer."""
    sides = [statistics(vectors, np.arange(len(vectors))) for vectors in (enrol, test)]
    trials = Ndx()
    trials.modelset, trials.segset = (side.modelset for side in sides)
    trials.trialmask = np.ones((len(enrol), len(test)), dtype=bool)
    return fast_PLDA_scoring(*sides, trials, *model, check_missing=False).scoremat


def statistics(vectors: np.ndarray, speakers: np.ndarray) -> StatObject_SB:
    """Vectors (N, D) of speakers (N,) with the names that SpeechBrain wants."""
    unused = np.full(len(vectors), None)
    names = np.array([f"{number:07d}" for number in speakers], dtype=object)
    return StatObject_SB(names, names, unused, unused, np.ones((len(vectors), 1)), vectors)


def speechbrain_eer(scores: np.ndarray, target: np.ndarray) -> float:
    """SpeechBrain's EER."""
    return EER(torch.from_numpy(scores[target]), torch.from_numpy(scores[~target]))[0]


def speechbrain_min_dcf(scores: np.ndarray, target: np.ndarray, p_target: float) -> float:
    """SpeechBrain's minDCF, which is not divided by the cost of the better constant answer."""
    kinds = torch.from_numpy(scores[target]), torch.from_numpy(scores[~target])
    return minDCF(*kinds, p_target=p_target)[0]


def roc_eer(scores: np.ndarray, target: np.ndarray) -> float:
    """The larger error where the two are closest on scikit-learn's ROC (as voxceleb_trainer takes it)."""
    p_fa, hit, _ = roc_curve(target, scores, drop_intermediate=False)
    closest = np.argmin(abs(1 - hit - p_fa))
    return max(p_fa[closest], 1 - hit[closest])
