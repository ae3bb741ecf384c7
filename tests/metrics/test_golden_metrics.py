"""EER and minDCF against what Kaldi's compute-eer and compute_min_dcf.py printed."""

import re
from contextlib import suppress

import numpy as np
import pytest

from spkdistill.data.scores import match_scores, read_scores
from spkdistill.data.trials import read_trials
from spkdistill.errors import DataError
from spkdistill.metrics.counts import ScoredTrials
from spkdistill.metrics.dcf import min_dcf, min_dcf_threshold
from spkdistill.metrics.eer import eer

pytestmark = pytest.mark.golden


def scored(golden, name) -> ScoredTrials:
    """A score file with the labels of the trial list that has just its pairs."""
    scores = read_scores(golden / "score" / name)
    for path in sorted((golden / "ivec").glob("trials-*")):
        trials = read_trials(path)
        with suppress(DataError):  # another list's pairs
            values = match_scores(scores, trials, name)
            if not np.isnan(values).any():
                return ScoredTrials(values, trials.target)
    raise AssertionError(f"no trial list of {name}")


def test_eer_and_min_dcf_have_the_digits_that_kaldi_prints(golden):
    loop = re.search(r"for p in ([\d. ]+);.*> score/METRICS$", (golden / "README.md").read_text(), re.M)
    p_targets = [float(p) for p in loop[1].split()]
    lines = (golden / "score/METRICS").read_text().splitlines()
    assert lines
    for line in lines:
        name, rate, *costs = line.split()
        counts = scored(golden, name).count()
        assert f"{100 * eer(counts):.4g}" == rate, name
        assert [f"{min_dcf(counts, p):.4f}" for p in p_targets] == costs, name


def test_min_dcf_and_its_threshold_are_those_of_the_script_to_the_last_bit(golden):
    text = (golden / "score/MINDCF-FULL").read_text()
    sections = re.findall(r"^# (\S+)\n((?:[^#].*\n)+)", text, re.M)
    assert sections
    for name, lines in sections:
        system = scored(golden, name)
        for p_target, _, cost, threshold in map(str.split, lines.splitlines()):
            assert float(min_dcf(system.count(), float(p_target))) == float(cost), name
            assert min_dcf_threshold(system, float(p_target)) == float(threshold), name
