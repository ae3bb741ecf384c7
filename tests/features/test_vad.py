"""Energy VAD frame by frame as Kaldi's loop decides, and the stage that writes it."""

import numpy as np
import pytest
from feature_settings import MFCC, VAD, mfcc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import ConfigError
from spkdistill.features.vad import VadSettings, energy_vad, vad_shard


def loop(log_energy: np.ndarray, wanted: VadSettings) -> list[bool]:
    """ComputeVadEnergy of voice-activity-detection.cc, one frame at a time."""
    threshold = np.float32(wanted.energy_threshold + wanted.energy_mean_scale * log_energy.mean(dtype=float))
    voiced = []
    for frame in range(len(log_energy)):
        near = range(frame - wanted.frames_context, frame + wanted.frames_context + 1)
        inside = [log_energy[index] for index in near if 0 <= index < len(log_energy)]
        above = sum(1 for energy in inside if energy > threshold)
        voiced.append(np.float32(above) >= np.float32(len(inside)) * np.float32(wanted.proportion_threshold))
    return voiced


@given(
    log_energy=arrays(np.float32, st.integers(0, 40), elements=st.integers(0, 12).map(float)),
    threshold=st.sampled_from([0.0, 5.5, 6.0]),
    scale=st.sampled_from([0.0, 0.5, 1.0]),
    context=st.integers(0, 6),
    proportion=st.sampled_from([0.12, 0.2, 0.5, 0.6]),
)
@settings(max_examples=100, deadline=None)
def test_voiced_frames_are_those_of_kaldis_loop(log_energy, threshold, scale, context, proportion):
    wanted = VadSettings(threshold, scale, context, proportion)
    if len(log_energy):
        assert energy_vad(log_energy, wanted).tolist() == loop(log_energy, wanted)
    else:
        assert energy_vad(log_energy, wanted).shape == (0,)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("energy_mean_scale", (5.5, -0.5, 2, 0.12)),
        ("frames_context", (5.5, 0.5, -1, 0.12)),
        ("proportion_threshold", (5.5, 0.5, 2, 1.0)),
        ("proportion_threshold", (5.5, 0.5, 2, 0.0)),
    ],
)
def test_settings_that_kaldi_asserts_against_are_refused_by_name(name, values):
    with pytest.raises(ConfigError, match=f"^vad.{name}: "):
        VadSettings(*values)


def test_the_stage_writes_a_decision_per_frame_from_the_first_coefficient(tmp_path):
    at = {name: str(tmp_path / name) for name in ("raw.ark", "raw.scp", "vad.ark", "vad.scp")}
    speech = np.zeros((30, 4), np.float32)
    speech[10:20, 0] = 20
    silence = np.full((8, 4), 1, np.float32)
    with ArkWriter(at["raw.ark"], at["raw.scp"]) as writer:
        writer.write("a", speech)
        writer.write("b", silence)
    vad_shard(at["raw.scp"], MFCC, VAD, at["vad.ark"], at["vad.scp"])
    with ArkReader(at["vad.scp"]) as reader:
        assert reader["a"].dtype == np.float32
        np.testing.assert_array_equal(reader["a"], (abs(np.arange(30) - 14.5) < 7).astype(np.float32))
        np.testing.assert_array_equal(reader["b"], np.zeros(8, np.float32))


@pytest.mark.parametrize("features", [mfcc(use_energy=False), mfcc(htk_compat=True)])
def test_features_without_energy_first_are_refused(tmp_path, features):
    with pytest.raises(ConfigError, match="use_energy"):
        vad_shard("raw.scp", features, VAD, str(tmp_path / "vad.ark"), str(tmp_path / "vad.scp"))
