"""Features of a signal, the settings that are refused, and shards that outlive bad recordings."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from feature_settings import MFCC, mfcc
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.compliance import kaldi

from spkdistill.arks import ArkReader
from spkdistill.errors import ConfigError, DataError
from spkdistill.features.extract import (
    add_deltas,
    compute,
    extract_shard,
    reflect,
    sine_window,
    through_torchaudio,
    windowed_here,
)
from spkdistill.features.settings import WINDOWS, FeatureSettings, feature_dim, num_frames
from spkdistill.files import read_tsv

RATE = 16000


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1000, samples).astype(np.float32)


def mirrored_frame(samples: np.ndarray, frame: int, window: int, shift: int) -> list[float]:
    """A frame as Kaldi's ExtractWindow gathers it, sample by sample."""
    start = shift * frame + shift // 2 - window // 2
    found = []
    for position in range(start, start + window):
        while position < 0 or position >= len(samples):
            position = -position - 1 if position < 0 else 2 * len(samples) - 1 - position
        found.append(samples[position])
    return found


@given(length=st.integers(80, 2000), shift=st.sampled_from([10.0, 5.0, 16.0, 40.0]))
@settings(max_examples=30, deadline=None)
def test_the_ends_of_a_signal_are_mirrored_as_kaldi_does(length, shift):
    wanted = mfcc(frame_shift=shift)
    step = int(shift * 16)
    frames = num_frames(length, wanted)
    assert frames == (length + step // 2) // step
    if frames:
        samples = noise(length)
        covered = reflect(samples, wanted)
        for frame in {0, frames // 2, frames - 1}:
            expected = mirrored_frame(samples, frame, 400, step)
            np.testing.assert_array_equal(covered[frame * step : frame * step + 400], expected)


def test_the_first_coefficient_is_the_log_energy_of_the_frame():
    samples = noise(RATE)
    energy = compute(samples, MFCC)[:, 0]
    frame = np.array(mirrored_frame(samples, 17, 400, 160), np.float64)
    assert energy[17] == pytest.approx(math.log(np.sum((frame - frame.mean()) ** 2)), abs=1e-5)
    last = compute(samples, mfcc(htk_compat=True))[:, -1]
    np.testing.assert_array_equal(last, energy)


def test_a_filterbank_peaks_at_the_frequency_of_a_tone():
    tone = (10000 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    bank = compute(tone, mfcc(kind="fbank", num_mel_bins=40, use_energy=False))
    assert bank.shape == (100, 40)
    low, high, at = (1127 * math.log(1 + frequency / 700) for frequency in (20, 7600, 1000))
    assert abs(bank[50].argmax() - ((at - low) / (high - low) * 41 - 1)) <= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"num_ceps": 20},
        {"kind": "fbank", "num_mel_bins": 40, "use_energy": False},
        {"kind": "fbank", "num_mel_bins": 40, "delta_order": 2},
    ],
)
def test_the_size_of_a_frame_is_known_before_it_is_computed(changes):
    assert feature_dim(mfcc(**changes)) == compute(noise(RATE), mfcc(**changes)).shape[1]


@pytest.mark.parametrize(("samples", "snip_edges"), [(399, True), (79, False), (0, False)])
def test_a_signal_without_a_frame_is_refused(samples, snip_edges):
    with pytest.raises(DataError, match=f"{samples} samples are too short"):
        compute(noise(samples), mfcc(snip_edges=snip_edges))


def test_dither_depends_on_the_seed_alone_and_adds_its_energy():
    silence = np.zeros(RATE, np.float32)
    first = compute(silence, mfcc(dither=1.0), seed=7)
    compute(noise(100), mfcc(dither=1.0), seed=1)
    np.testing.assert_array_equal(compute(silence, mfcc(dither=1.0), seed=7), first)
    assert not np.array_equal(compute(silence, mfcc(dither=1.0), seed=8), first)
    assert first[:, 0].mean() == pytest.approx(math.log(400), abs=0.05)


def test_more_mel_bins_than_the_fft_fills_are_those_that_torchaudio_leaves_at_zero():
    def refused(bins: int) -> bool:
        try:
            return not mfcc(kind="fbank", num_mel_bins=bins)
        except ConfigError:
            return True

    for bins in range(60, 140):
        banks, _ = kaldi.get_mel_banks(bins, 512, 16000.0, 20.0, 7600.0, 100.0, -500.0, 1.0)
        assert refused(bins) == bool((banks.sum(dim=1) == 0).any())


def test_the_windows_on_offer_are_those_of_torchaudio_and_one_more():
    assert {*kaldi.WINDOWS, "sine"} == set(WINDOWS)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "fbank", "use_energy": False},
        {"kind": "fbank", "htk_compat": True, "subtract_mean": True, "preemphasis": 0.9},
        {"remove_dc_offset": False, "round_to_power_of_two": False},
        {"raw_energy": False, "frame_length": 32.0, "frame_shift": 16.0},
        {"energy_floor": 1e9},
        {"dither": 2.0, "snip_edges": True},
    ],
)
def test_a_window_of_ours_gives_what_torchaudio_gives_with_the_same(changes):
    wanted = mfcc(window_type="hanning", **changes)
    waveform = torch.from_numpy(reflect(noise(RATE), wanted))
    length = int(16 * wanted.frame_length)
    torch.manual_seed(5)
    ours = windowed_here(waveform, wanted, torch.hann_window(length, periodic=False))
    torch.manual_seed(5)
    torch.testing.assert_close(ours, through_torchaudio(waveform, wanted), rtol=0, atol=2e-5)


def test_the_sine_window_is_half_a_period_which_squared_is_hannings():
    np.testing.assert_allclose(sine_window(400) ** 2, np.hanning(400), atol=1e-6)


def delta_loop(features: np.ndarray, order: int, window: int) -> np.ndarray:
    """The derivatives of each order by regression on the one before, over frames repeated beyond the ends."""
    margin = order * window
    padded = np.concatenate([features[:1]] * margin + [features] + [features[-1:]] * margin).astype(
        np.float64
    )
    pieces = [padded]
    for _ in range(order):
        before = pieces[-1]
        after = np.zeros_like(before)
        for frame in range(window, len(before) - window):
            offsets = range(-window, window + 1)
            slope = sum(offset * before[frame + offset] for offset in offsets)
            after[frame] = slope / sum(offset**2 for offset in offsets)
        pieces.append(after)
    return np.concatenate([piece[margin : margin + len(features)] for piece in pieces], axis=1)


@given(frames=st.integers(1, 30), order=st.integers(0, 3), window=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_derivatives_are_slopes_and_the_ends_go_on(frames, order, window):
    features = np.random.default_rng(frames).normal(0, 10, (frames, 3)).astype(np.float32)
    ours = add_deltas(features, order, window)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, delta_loop(features, order, window), atol=1e-5)


def test_derivatives_follow_the_features_when_asked_for():
    samples = noise(RATE)
    static = compute(samples, MFCC)
    features = compute(samples, mfcc(delta_order=1, delta_window=3))
    np.testing.assert_array_equal(features[:, :30], static)
    rising = sum(offset * (static[50 + offset] - static[50 - offset]) for offset in (1, 2, 3)) / 28
    np.testing.assert_allclose(features[50, 30:], rising, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("kind", {"kind": "plp"}),
        ("window_type", {"window_type": "kaiser"}),
        ("sample_rate", {"sample_rate": 0}),
        ("channel", {"channel": -2}),
        ("delta_order", {"delta_order": -1}),
        ("delta_order", {"delta_order": 1000}),
        ("delta_window", {"delta_window": 0}),
        ("delta_window", {"delta_window": 1000}),
        ("frame_length", {"frame_length": 0.1}),
        ("frame_length", {"frame_length": float("inf")}),
        ("dither", {"dither": float("nan")}),
        ("frame_length", {"frame_length": 25.1, "round_to_power_of_two": False}),
        ("frame_shift", {"frame_shift": 0.01}),
        ("num_mel_bins", {"num_mel_bins": 3, "num_ceps": 3}),
        ("num_mel_bins", {"num_mel_bins": 128}),
        ("num_mel_bins", {"num_mel_bins": 10**12}),
        ("frame_length", {"frame_length": 1e18}),
        ("num_ceps", {"num_ceps": 31}),
        ("num_ceps", {"num_ceps": 0}),
        ("low_freq", {"low_freq": 7600.0}),
        ("low_freq", {"low_freq": -1.0}),
        ("high_freq", {"high_freq": 8001.0}),
        ("low_freq", {"high_freq": -8000.0}),
        ("preemphasis", {"preemphasis": 1.1}),
        ("dither", {"dither": -1.0}),
        ("energy_floor", {"energy_floor": -1.0}),
        ("vtln_warp", {"vtln_warp": 0.0}),
        ("vtln_low", {"vtln_warp": 0.9, "vtln_low": 10.0}),
        ("vtln_low", {"vtln_warp": 0.9, "vtln_high": 7700.0}),
    ],
)
def test_a_setting_that_cannot_be_computed_is_refused_by_name(name, changes):
    with pytest.raises(ConfigError, match=f"^features.{name}: "):
        mfcc(**changes)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory of three good recordings and five that cannot be used."""
    folder = tmp_path / "data"
    folder.mkdir()
    good = {f"s1-good{index}": noise(RATE + 100 * index, index) / 32768 for index in range(3)}
    for name, samples in good.items():
        soundfile.write(folder / f"{name}.wav", samples, RATE)
    soundfile.write(folder / "s2-brief.wav", good["s1-good0"][:70], RATE)
    soundfile.write(folder / "s2-slow.wav", good["s1-good0"], 8000)
    soundfile.write(folder / "s2-stereo.wav", good["s1-good0"].reshape(-1, 2), RATE)
    (folder / "s3-cut.wav").write_bytes((folder / "s1-good0.wav").read_bytes()[:9000])
    names = sorted([*good, "s2-brief", "s2-slow", "s2-stereo", "s3-absent", "s3-cut"])
    (folder / "wav.scp").write_text("".join(f"{name} {folder / name}.wav\n" for name in names))
    (folder / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names))
    speakers = {speaker: [name for name in names if name[:2] == speaker] for speaker in ("s1", "s2", "s3")}
    lines = [f"{speaker} {' '.join(members)}\n" for speaker, members in speakers.items()]
    (folder / "spk2utt").write_text("".join(lines))
    return folder


def extracted(data: Path, wanted: FeatureSettings, jobs: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Features and reasons of all shards."""
    features, reasons = {}, {}
    for job in range(1, jobs + 1):
        base = str(data / f"raw.{jobs}.{job}")
        extract_shard(str(data), wanted, job, jobs, base + ".ark", base + ".scp", base + ".tsv", False, 3)
        with ArkReader(base + ".scp") as reader:
            features |= {key: reader[key] for key in reader.keys()}  # noqa: SIM118
        reasons |= dict(read_tsv(base + ".tsv", ["utterance", "reason"]))
    return features, reasons


def test_bad_recordings_are_listed_with_their_reasons_and_the_others_computed(data):
    features, reasons = extracted(data, MFCC, 1)
    assert {key: value.shape for key, value in features.items()} == {
        "s1-good0": (100, 30),
        "s1-good1": (101, 30),
        "s1-good2": (101, 30),
    }
    expected = {
        "s2-brief": "too short for a frame",
        "s2-slow": "8000 Hz",
        "s2-stereo": "2 channels",
        "s3-absent": "no such file",
        "s3-cut": "truncated",
    }
    assert list(reasons) == list(expected)
    for utterance, reason in expected.items():
        assert reason in reasons[utterance]


def test_the_channel_asked_for_is_the_one_computed(data):
    left, right = noise(RATE, 5) / 32768, noise(RATE, 6) / 32768
    soundfile.write(data / "s2-stereo.wav", np.stack([left, right], axis=1), RATE, subtype="FLOAT")
    features, reasons = extracted(data, mfcc(channel=1), 1)
    assert list(features) == ["s2-stereo"]
    np.testing.assert_array_equal(features["s2-stereo"], compute(noise(RATE, 6), MFCC))
    assert "no channel 1; it has 1" in reasons["s1-good0"]


def test_features_do_not_depend_on_the_number_of_shards(data):
    whole, reasons = extracted(data, mfcc(dither=1.0), 1)
    pieces, same_reasons = extracted(data, mfcc(dither=1.0), 3)
    assert same_reasons == reasons
    assert list(pieces) == list(whole)
    for utterance, features in whole.items():
        np.testing.assert_array_equal(pieces[utterance], features)


def test_segments_become_utterances(data):
    (data / "wav.scp").write_text(f"rec {data / 's1-good0.wav'}\n")
    (data / "segments").write_text("s1-a rec 0.0 0.5\ns1-b rec 0.5 0.55\ns1-c rec 0.25 1.0\n")
    (data / "utt2spk").write_text("s1-a s1\ns1-b s1\ns1-c s1\n")
    (data / "spk2utt").write_text("s1 s1-a s1-b s1-c\n")
    features, reasons = extracted(data, mfcc(snip_edges=True), 1)
    assert {key: len(value) for key, value in features.items()} == {"s1-a": 48, "s1-c": 73}
    assert list(reasons) == ["s1-b"]
    assert "shorter than 0.1 s" in reasons["s1-b"]
