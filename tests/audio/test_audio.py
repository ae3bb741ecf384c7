"""Audio comes back sample by sample on the int16 scale; what cannot be used is refused with its reason."""

import io
import itertools
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spkdistill import audio
from spkdistill.errors import DataError

RATE = 16000
SAMPLES = np.random.default_rng(0).integers(-32768, 32768, size=8000).astype(np.int16)


def encoded(
    samples: np.ndarray = SAMPLES, rate: int = RATE, form: str = "WAV", subtype: str = "PCM_16"
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def stored(folder: Path, content: bytes) -> str:
    path = folder / "recording"
    path.write_bytes(content)
    return str(path)


def with_data_size(size: int) -> bytes:
    content = bytearray(encoded())
    struct.pack_into("<I", content, content.index(b"data") + 4, size)
    return bytes(content)


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "FLAC", "AIFF"])
def test_sixteen_bit_samples_come_back_exactly(tmp_path, form):
    location = stored(tmp_path, encoded(form=form))
    samples = audio.read(location, None, RATE)
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, SAMPLES)
    assert audio.info(location) == (RATE, len(SAMPLES), 1)


def test_float_samples_are_scaled_to_int16(tmp_path):
    location = stored(tmp_path, encoded(np.array([0.0, 0.5, -1.0, 0.25], np.float32), subtype="FLOAT"))
    np.testing.assert_array_equal(audio.read(location, None, RATE), [0, 16384, -32768, 8192])


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_a_file_inside_an_archive_is_read_from_its_offset(tmp_path, form):
    first, second = encoded(SAMPLES[:3000], form=form), encoded(SAMPLES[3000:], form=form)
    location = stored(tmp_path, b"a " + first + b"b " + second)
    np.testing.assert_array_equal(audio.read(f"{location}:2", None, RATE), SAMPLES[:3000])
    np.testing.assert_array_equal(audio.read(f"{location}:{len(first) + 4}", None, RATE), SAMPLES[3000:])
    assert audio.info(f"{location}:{len(first) + 4}") == (RATE, 5000, 1)
    np.testing.assert_array_equal(audio.read(f"{location}:2", (0.05, 0.15), RATE), SAMPLES[800:2400])


@pytest.mark.parametrize("size", audio.STREAMED)
def test_a_header_of_a_stream_is_read_to_the_end(tmp_path, size):
    location = stored(tmp_path, with_data_size(size))
    np.testing.assert_array_equal(audio.read(location, None, RATE), SAMPLES)
    assert audio.info(location) == (RATE, len(SAMPLES), 1)
    inside = stored(tmp_path, b"a " + with_data_size(size))
    with pytest.raises(DataError, match="without a size"):
        audio.read(f"{inside}:2", None, RATE)


def test_a_stream_too_long_to_be_copied_is_refused_before_it_is_read(tmp_path):
    location = stored(tmp_path, with_data_size(0xFFFFFFFF))
    os.truncate(location, 5 << 30)  # sparse
    with pytest.raises(DataError, match="over 1 GiB, and its header has no size"):
        audio.info(location)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"this is no audio", "not audio"),
        (encoded()[:20], "not audio"),
        (encoded()[:-1000], "truncated: 15000 of 16000 bytes"),
        (encoded()[:44], "empty"),
        (encoded(form="FLAC")[:-1000], "truncated"),
        (encoded(SAMPLES[:0], form="FLAC"), "empty"),
        (encoded(SAMPLES[:0]), "empty"),
        (encoded(SAMPLES.reshape(-1, 2)), "2 channels"),
        (encoded(rate=8000), "8000 Hz.*16000 Hz"),
        (encoded(np.array([0.5, np.nan], np.float32), subtype="FLOAT"), "NaN or infinite"),
        (encoded(np.array([0.5, np.inf], np.float32), subtype="FLOAT"), "NaN or infinite"),
        (encoded(np.array([0.5, 1e38], np.float32), subtype="FLOAT"), "NaN or infinite"),
    ],
    ids=itertools.count(),  # the bytes hold the time of day, which ids of tests must not
)
def test_unusable_audio_is_refused_with_the_file_and_the_reason(tmp_path, content, reason):
    location = stored(tmp_path, content)
    with pytest.raises(DataError, match=f"^{location}: .*{reason}") as caught:
        audio.read(location, None, RATE)
    assert "\n" not in str(caught.value)


def test_a_channel_is_read_by_its_number_and_must_be_there(tmp_path):
    channels = SAMPLES.reshape(-1, 2)
    location = stored(tmp_path, encoded(channels))
    for channel in (0, 1):
        samples = audio.read(location, (0.0, 0.125), RATE, channel=channel)
        np.testing.assert_array_equal(samples, channels[:2000, channel])
    with pytest.raises(DataError, match="no channel 2; it has 2"):
        audio.read(location, None, RATE, channel=2)
    np.testing.assert_array_equal(audio.read(stored(tmp_path, encoded()), None, RATE, channel=0), SAMPLES)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        audio.read(str(tmp_path / "absent.wav"), None, RATE)
    with pytest.raises(DataError, match="is a directory"):
        audio.read(str(tmp_path), None, RATE)


def test_a_recording_too_long_for_memory_is_refused_but_its_segments_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MAX_SAMPLES", 4000)
    location = stored(tmp_path, encoded())
    with pytest.raises(DataError, match="8000 samples, over the limit of 4000"):
        audio.read(location, None, RATE)
    np.testing.assert_array_equal(audio.read(location, (0.25, 0.5), RATE), SAMPLES[4000:])


@pytest.mark.parametrize(
    ("segment", "first", "last"),
    [
        ((0.0, 0.25), 0, 4000),
        ((0.10003, 0.3), 1600, 4800),  # 1600.48 rounds down
        ((0.10004, 0.3), 1601, 4800),  # 1600.64 rounds up
        ((0.3, -1), 4800, 8000),
        ((0.3, 0.9), 4800, 8000),
    ],
)
def test_a_segment_is_cut_at_the_nearest_samples(tmp_path, segment, first, last):
    samples = audio.read(stored(tmp_path, encoded()), segment, RATE)
    np.testing.assert_array_equal(samples, SAMPLES[first:last])


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        ((0.6, 0.9), "starts outside"),
        ((-0.1, 0.3), "starts outside"),
        ((0.1, 1.1), "ends more than 0.5 s after"),
        ((0.1, 0.15), "shorter than 0.1 s"),
        ((0.45, -1), "shorter than 0.1 s"),
        ((0.4, 0.2), "shorter than 0.1 s"),
        ((0.1, -2), "shorter than 0.1 s"),
        ((float("nan"), 0.2), "starts outside"),
        ((0.1, float("nan")), "shorter than 0.1 s"),
    ],
)
def test_a_segment_that_kaldi_skips_is_refused(tmp_path, segment, reason):
    with pytest.raises(DataError, match=f"segment .*{reason}"):
        audio.read(stored(tmp_path, encoded()), segment, RATE)


def test_a_pipe_runs_only_where_allowed(tmp_path):
    location = f"cat {stored(tmp_path, encoded())} |"
    with pytest.raises(DataError, match="allow_pipes"):
        audio.read(location, None, RATE)
    np.testing.assert_array_equal(audio.read(location, None, RATE, allow_pipes=True), SAMPLES)
    with pytest.raises(DataError, match="failed with status 3: out of tape"):
        audio.read("echo out of tape >&2; exit 3 |", None, RATE, allow_pipes=True)


@pytest.mark.parametrize(("rate", "allowed"), [(48000, "allow_downsample"), (8000, "allow_upsample")])
def test_a_tone_keeps_its_frequency_and_level_when_resampled(tmp_path, rate, allowed):
    def tone(rate: int) -> np.ndarray:
        return 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)

    location = stored(tmp_path, encoded(tone(rate), rate))
    samples = audio.read(location, None, RATE, **{allowed: True})
    assert len(samples) == RATE
    middle = slice(100, -100)
    np.testing.assert_allclose(samples[middle], 32768 * tone(RATE)[middle], atol=30)
    other = {"allow_downsample": "allow_upsample", "allow_upsample": "allow_downsample"}[allowed]
    with pytest.raises(DataError, match=f"{rate} Hz"):
        audio.read(location, None, RATE, **{other: True})


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.93, 1.1, 2.0])
def test_a_tone_played_faster_is_shorter_and_higher_by_that_factor_and_as_loud(speed):
    def tone(hertz: float, seconds: float) -> np.ndarray:
        return 10000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)

    played = audio.at_speed(tone(700, 1.8).astype(np.float32), speed)
    assert played.dtype == np.float32
    assert len(played) == int(np.ceil(1.8 * RATE / speed))
    middle = slice(100, -100)
    expected = tone(700 * speed, 2 * 1.8 / speed)[: len(played)]
    np.testing.assert_allclose(played[middle], expected[middle], atol=10)


def test_speed_one_changes_no_sample():
    samples = SAMPLES.astype(np.float32)
    np.testing.assert_array_equal(audio.at_speed(samples, 1.0), samples)


@pytest.mark.parametrize("location", ["no\0such.wav", f"{__file__}:{10**30}", f"{__file__}:{10**17}", "."])
def test_a_location_that_is_none_is_a_data_error(location):
    with pytest.raises(DataError):
        audio.info(location)


def test_a_header_that_claims_too_much_takes_no_memory(tmp_path):
    content = bytearray(encoded(form="FLAC"))
    packed = int.from_bytes(content[18:26], "big")  # STREAMINFO: the last 36 bits are the number of samples
    content[18:26] = ((packed >> 36 << 36) | (audio.MAX_SAMPLES - 1)).to_bytes(8, "big")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="damaged or truncated"):
            audio.read(stored(tmp_path, content), None, RATE)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_long_recordings_are_decoded_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK", 1000)
    location = stored(tmp_path, encoded())
    np.testing.assert_array_equal(audio.read(location, None, RATE), SAMPLES)
    np.testing.assert_array_equal(audio.read(location, (0.1, 0.2875), RATE), SAMPLES[1600:4600])


def test_a_pipe_that_nobody_writes_to_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe, not a file"):
        audio.info(str(tmp_path / "pipe"))
