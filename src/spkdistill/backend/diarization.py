"""Who speaks when nobody has said: utterances of a recording scored against each other and clustered.

Kaldi ivector-plda-scoring-dense.cc and agglomerative-cluster.cc; the clustering itself is scipy's.
"""

import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from spkdistill.backend.llr import plda_pairs, plda_space
from spkdistill.backend.plda import Plda, project

ALL_ENERGY = 0.002  # a share so near to 1 is 1 (Kaldi's ApproxEqual of 0.001)


def recording_scores(plda: Plda, vectors: np.ndarray, target_energy: float) -> np.ndarray:
    """Log likelihood ratios, (N, N), of all pairs of a recording's vectors (N, D).

    Vectors and model are first reduced to the recording's own principal components, those that hold more than
    the share `target_energy` of its variance and one more, as Kaldi's loop counts; near 1, and where the
    vectors do not vary, they are all kept.
    """
    if not np.isclose(target_energy, 1, rtol=0, atol=ALL_ENERGY) and np.ptp(vectors, axis=0).any():
        components = principal_components(vectors, target_energy)
        plda, vectors = project(plda, components), vectors @ components.T
    z = plda_space(plda, vectors, 1, normalize_length=True)
    return plda_pairs(plda.psi, z, np.ones(len(z), dtype=np.int64), z).all()


def principal_components(vectors: np.ndarray, target_energy: float) -> np.ndarray:
    """The leading eigenvectors, (d, D), of the covariance of vectors (N, D)."""
    centred = vectors - vectors.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred / len(vectors))
    energy = np.cumsum(values[::-1]) / values.sum()
    kept = np.searchsorted(energy, target_energy, side="right") + 2
    return directions[:, ::-1][:, : min(kept, len(values))].T


def cluster(scores: np.ndarray, threshold: float | None = None, clusters: int | None = None) -> np.ndarray:
    """A label 1, 2, ... for each utterance, (N,), by average linkage of scores (N, N).

    Clusters merge while their mean score is at least `threshold`, or until there are so many `clusters`.
    Labels go up in the order in which the clusters came to be, as Kaldi's do.
    """
    members = {utterance: [utterance] for utterance in range(len(scores))}
    if len(scores) > 1:
        shift = scores.max()  # linkage wants distances that are not negative
        distances = shift - (scores + scores.T) / 2
        np.fill_diagonal(distances, 0)
        merges = linkage(squareform(distances, checks=False), "average")
        for number, (first, second, distance, _) in enumerate(merges, start=len(scores)):
            enough = len(members) <= clusters if clusters is not None else shift - distance < threshold
            if enough:
                break
            members[number] = members.pop(int(first)) + members.pop(int(second))
    labels = np.empty(len(scores), dtype=np.int64)
    for label, utterances in enumerate(members.values(), start=1):
        labels[utterances] = label
    return labels
