"""Clustering against merging by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.backend.diarization import cluster


def by_hand(scores, threshold, clusters):
    """Average linkage that looks at every pair of clusters again before each merge."""
    groups = [[index] for index in range(len(scores))]
    while len(groups) > (clusters or 1):
        means = {
            (a, b): scores[np.ix_(groups[a], groups[b])].mean()
            for a in range(len(groups))
            for b in range(a + 1, len(groups))
        }
        a, b = max(means, key=means.get)
        if clusters is None and means[a, b] < threshold:
            break
        groups.append(groups[a] + groups[b])
        del groups[b], groups[a]
    return {frozenset(group) for group in groups}


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 9), st.floats(-2, 2), st.integers(1, 9), st.booleans(), st.integers(0, 2**32 - 1))
def test_clusters_are_those_of_merging_by_hand(size, threshold, clusters, known, seed):
    scores = np.random.default_rng(seed).normal(size=(size, size))
    scores = scores + scores.T
    clusters = clusters if known else None
    labels = cluster(scores, threshold, clusters)
    found = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}
    assert found == by_hand(scores, threshold, clusters)
    assert sorted(set(labels.tolist())) == list(range(1, len(found) + 1))
