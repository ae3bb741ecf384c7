"""How the scores of the two kinds of trials are distributed."""

import numpy as np

BINS = 50
TAIL = 0.001  # share of either kind that may lie beyond the outer edges
CLOSE = 1e-12  # a range below this share of the scores has no room for the edges
TINY = 1e-280  # what the scores are taken for where they are smaller


def histogram(scores: np.ndarray, target: np.ndarray) -> dict[str, list]:
    """Bins of equal width, the same for both kinds; the outer ones also count what lies beyond their edge."""
    kinds = {"targets": scores[target], "nontargets": scores[~target]}
    tails = [np.quantile(values, [TAIL, 1 - TAIL], method="inverted_cdf") for values in kinds.values()]
    edges = bin_edges(float(np.min(tails)), float(np.max(tails)))
    counts = {
        kind: np.histogram(values.clip(edges[0], edges[-1]), edges)[0] for kind, values in kinds.items()
    }
    return {"edges": edges.tolist()} | {kind: count.tolist() for kind, count in counts.items()}


def bin_edges(low: float, high: float) -> np.ndarray:
    """Rising finite edges, (BINS + 1,), from low to high, or further apart where these are too close."""
    size = max(-low, high, TINY)
    if high - low <= CLOSE * size:
        margin, largest = max(0.5, CLOSE * size), float(np.finfo(np.float64).max)
        low, high = max(low - margin, -largest), min(high + margin, largest)
    steps = np.linspace(0, 1, BINS + 1)
    return low * (1 - steps) + high * steps  # high - low may overflow
