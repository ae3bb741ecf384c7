"""Score normalisation against its definition, one trial at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.backend import score_norm
from spkdistill.backend.inputs import Side
from spkdistill.backend.plda import Plda
from spkdistill.backend.score_norm import normalise_scores
from spkdistill.backend.settings import ScoreSettings
from spkdistill.backend.system import CosineSystem, PldaSystem, Reduction
from spkdistill.errors import DataError

SETTINGS = ScoreSettings(normalize_length=True, simple_length_norm=False, score_norm="as", cohort_top=3)


def side(rng, number, most):
    names = [f"{number}-{index}" for index in range(number)]
    return Side(names, rng.normal(size=(number, 4)), rng.integers(1, most + 1, size=number))


def system(rng, kind):
    if kind == "cosine":
        return CosineSystem(Reduction(4, rng.normal(size=4), None))
    plda = Plda(rng.normal(size=3), rng.normal(size=(3, 3)), np.array([3.0, 1.0, 0.2]))
    return PldaSystem(Reduction(4, rng.normal(size=4), rng.normal(size=(3, 5))), SETTINGS, plda)


def alone(system, enrol, test, e, t):
    """The score of one pair."""
    enrol, test = (system.place(who.part(slice(row, row + 1))) for who, row in ((enrol, e), (test, t)))
    return system.pairs(enrol, test).all().item()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["cosine", "plda"]),
    st.sampled_from(["z", "t", "s", "as"]),
    st.integers(2, 9),
    st.integers(2, 7),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
def test_scores_are_standardised_by_those_of_the_cohort(kind, norm, speakers, top, block, seed):
    rng = np.random.default_rng(seed)
    scorer, enrol, test = system(rng, kind), side(rng, 5, 3), side(rng, 6, 1)
    cohort = side(rng, speakers, 4)
    single = Side(cohort.names, cohort.vectors, np.ones_like(cohort.counts))
    first, second = rng.integers(0, 5, size=12), rng.integers(0, 6, size=12)
    scores = np.array([alone(scorer, enrol, test, e, t) for e, t in zip(first, second, strict=True)])
    kept = min(top, speakers) if norm == "as" else speakers
    expected = []
    for score, e, t in zip(scores, first, second, strict=True):
        against = {
            "z": [alone(scorer, enrol, single, e, other) for other in range(speakers)],
            "t": [alone(scorer, cohort, test, other, t) for other in range(speakers)],
        }
        parts = []
        for which in {"z": "z", "t": "t"}.get(norm, "zt"):
            best = np.sort(against[which])[-kept:]
            parts.append((score - best.mean()) / best.std())
        expected.append(np.mean(parts))
    sides = {"enrol": (scorer.place(enrol), first), "test": (scorer.place(test), second)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_norm, "BLOCK_PAIRS", block)
        found = normalise_scores(scores, scorer, sides, cohort, norm, top)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "plda"])
@pytest.mark.parametrize("norm", ["z", "t", "s", "as"])
@pytest.mark.parametrize("members", [2, 7, 10, 11])
def test_a_cohort_whose_scores_do_not_vary_is_refused(kind, norm, members):
    rng = np.random.default_rng(0)
    scorer, who = system(rng, kind), side(rng, 3, 1)
    names = [f"twin{index}" for index in range(members)]
    twins = Side(names, np.tile(rng.normal(size=4), (members, 1)), np.ones(members, dtype=int))
    sides = {name: (scorer.place(who), np.arange(3)) for name in ("enrol", "test")}
    with pytest.raises(DataError, match="3-0: its scores against the cohort do not vary"):
        normalise_scores(np.zeros(3), scorer, sides, twins, norm, 300)
