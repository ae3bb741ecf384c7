"""CMN over windows, as Kaldi's loop computes it, and over utterances; the stage that keeps voiced frames."""

from dataclasses import replace

import numpy as np
import pytest
from feature_settings import CMN
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import ConfigError
from spkdistill.features.cmn import CmnSettings, apply_cmvn, cmvn_stats, normalise_shard, sliding_cmn
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
    wanted = CmnSettings("sliding", window, max(1, int(share * window)), center, norm_vars, 1)
    features = np.random.default_rng(frames).normal(5, 3, (frames, 3)).astype(np.float32)
    ours = sliding_cmn(features, wanted)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, loop(features, wanted), rtol=1e-4, atol=1e-5)


def test_a_constant_coefficient_becomes_zero_with_normalised_variance_too():
    normalised = sliding_cmn(np.full((500, 2), 7.3, np.float32), replace(CMN, norm_vars=True))
    np.testing.assert_allclose(normalised, 0, atol=1e-6)


@pytest.mark.parametrize("norm_vars", [False, True])
def test_statistics_of_utterances_add_up_to_those_of_their_speaker(norm_vars):
    random = np.random.default_rng(0)
    utterances = [random.normal(shift, 3, (50, 4)).astype(np.float32) for shift in (-2, 0, 9)]
    stats = sum(cmvn_stats(features) for features in utterances)
    together = np.concatenate(utterances).astype(np.float64)
    for features in utterances:
        expected = features - together.mean(axis=0)
        expected = expected / together.std(axis=0) if norm_vars else expected
        normalised = apply_cmvn(features, stats, norm_vars)
        assert normalised.dtype == np.float32
        np.testing.assert_allclose(normalised, expected, atol=1e-5)


def test_a_coefficient_that_never_changes_becomes_zero_over_an_utterance():
    features = np.full((500, 2), 7.3, np.float32)
    np.testing.assert_allclose(apply_cmvn(features, cmvn_stats(features), norm_vars=True), 0, atol=1e-3)


def test_a_kind_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"^cmn\.kind: 'speaker' .*sliding, utterance"):
        replace(CMN, kind="speaker")


@pytest.mark.parametrize(("window", "min_window"), [(51, 100), (100, 0), (0, 0)])
def test_windows_that_fail_kaldis_assertion_are_refused(window, min_window):
    with pytest.raises(ConfigError, match=r"^cmn\.min_window: "):
        CmnSettings("sliding", window, min_window, True, False, 50)


def over_utterance(features: np.ndarray, wanted: CmnSettings) -> np.ndarray:
    return (features - features.mean(axis=0)) / features.std(axis=0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (replace(CMN, window=100), loop),
        (replace(CMN, window=100, kind="utterance", norm_vars=True), over_utterance),
    ],
)
def test_the_stage_keeps_voiced_frames_and_lists_what_it_leaves_out(tmp_path, wanted, expected):
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
        wanted,
        "two-byte-auto",
        at["voiced"] + ".ark",
        at["voiced"] + ".scp",
        at["frames"],
        at["rejected"],
    )
    with ArkReader(at["voiced"] + ".scp") as reader:
        assert list(reader.keys()) == ["a"]
        kept = expected(features["a"], wanted)[::2]
        np.testing.assert_allclose(reader["a"], kept, atol=np.ptp(kept) / 65535)
    assert (tmp_path / "frames").read_text() == "a 60\n"
    assert read_tsv(at["rejected"], ["utterance", "reason"]) == [
        ["b", "49 voiced frames, fewer than 50"],
        ["c", "no voice activity decision for it"],
        ["d", "120 frames of features but 119 voice activity decisions"],
    ]
