"""Sliding CMN as Kaldi's loop over frames computes it, and the stage that keeps the voiced frames."""

from dataclasses import replace

import numpy as np
import pytest
from feature_settings import CMN
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import ConfigError
from spkdistill.features.cmn import CmnSettings, normalise_shard, sliding_cmn
from spkdistill.files import read_tsv


def loop(features: np.ndarray, wanted: CmnSettings) -> np.ndarray:
    """SlidingWindowCmnInternal of feature-functions.cc, one frame at a time."""
    frames = len(features)
    rows = []
    for frame in range(frames):
        if wanted.center:
            start = frame - wanted.window // 2
            end = start + wanted.window
        else:
            start, end = frame - wanted.window, frame + 1
        if start < 0:
            start, end = 0, end - start
        if not wanted.center and end > frame:
            end = max(frame + 1, wanted.min_window)
        if end > frames:
            start, end = max(start - (end - frames), 0), frames
        near = features[start:end].astype(np.float64)
        row = features[frame] - near.mean(axis=0)
        if wanted.norm_vars:
            row = row / np.sqrt(np.maximum(near.var(axis=0), 1e-10)) if len(near) > 1 else 0 * row
        rows.append(row)
    return np.array(rows)


@given(
    frames=st.integers(1, 60),
    window=st.integers(1, 80),
    share=st.floats(0, 1),
    center=st.booleans(),
    norm_vars=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_every_window_is_that_of_kaldis_loop(frames, window, share, center, norm_vars):
    wanted = CmnSettings(window, max(1, int(share * window)), center, norm_vars, 1)
    features = np.random.default_rng(frames).normal(5, 3, (frames, 3)).astype(np.float32)
    ours = sliding_cmn(features, wanted)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, loop(features, wanted), rtol=1e-4, atol=1e-5)


def test_a_constant_coefficient_becomes_zero_with_normalised_variance_too():
    normalised = sliding_cmn(np.full((500, 2), 7.3, np.float32), replace(CMN, norm_vars=True))
    np.testing.assert_allclose(normalised, 0, atol=1e-6)


@pytest.mark.parametrize(("window", "min_window"), [(51, 100), (100, 0), (0, 0)])
def test_windows_that_fail_kaldis_assertion_are_refused(window, min_window):
    with pytest.raises(ConfigError, match=r"^cmn\.min_window: "):
        CmnSettings(window, min_window, True, False, 50)


def test_the_stage_keeps_voiced_frames_and_lists_what_it_leaves_out(tmp_path):
    at = {name: str(tmp_path / name) for name in ("raw", "vad", "voiced", "frames", "rejected")}
    random = np.random.default_rng(0)
    features = {key: random.normal(5, 3, (120, 4)).astype(np.float32) for key in "abcd"}
    voiced = {"a": np.arange(120) % 2 == 0, "b": np.arange(120) < 49, "d": np.ones(119, bool)}
    with ArkWriter(at["raw"] + ".ark", at["raw"] + ".scp") as writer:
        for key, matrix in features.items():
            writer.write(key, matrix)
    with ArkWriter(at["vad"] + ".ark", at["vad"] + ".scp") as writer:
        for key, decisions in voiced.items():
            writer.write(key, decisions.astype(np.float32))
    normalise_shard(
        at["raw"] + ".scp",
        at["vad"] + ".scp",
        CMN,
        "two-byte-auto",
        at["voiced"] + ".ark",
        at["voiced"] + ".scp",
        at["frames"],
        at["rejected"],
    )
    with ArkReader(at["voiced"] + ".scp") as reader:
        assert list(reader.keys()) == ["a"]
        expected = loop(features["a"], CMN)[::2]
        np.testing.assert_allclose(reader["a"], expected, atol=np.ptp(expected) / 65535)
    assert (tmp_path / "frames").read_text() == "a 60\n"
    assert read_tsv(at["rejected"], ["utterance", "reason"]) == [
        ["b", "49 voiced frames, fewer than 50"],
        ["c", "no voice activity decision for it"],
        ["d", "120 frames of features but 119 voice activity decisions"],
    ]
