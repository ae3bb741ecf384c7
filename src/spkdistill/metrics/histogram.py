"""How the scores of the two kinds of trials are distributed."""

import numpy as np

BINS = 50
TAIL = 0.001  # share of either kind that may lie beyond the outer edges


def histogram(scores: np.ndarray, target: np.ndarray) -> dict[str, list]:
    """Bins of equal width, the same for both kinds; the outer ones also count what lies beyond their edge."""
    kinds = {"targets": scores[target], "nontargets": scores[~target]}
    tails = np.array([np.quantile(values, [TAIL, 1 - TAIL]) for values in kinds.values()])
    low, high = tails[:, 0].min(), tails[:, 1].max()
    edges = np.histogram_bin_edges([low, high], BINS)
    counts = {
        kind: np.histogram(values.clip(edges[0], edges[-1]), edges)[0] for kind, values in kinds.items()
    }
    return {"edges": edges.tolist()} | {kind: count.tolist() for kind, count in counts.items()}
