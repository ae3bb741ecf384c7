"""Features of utterances that are played faster or slower than they were recorded."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from feature_settings import mfcc

from spkdistill import audio
from spkdistill.arks import ArkReader
from spkdistill.features.extract import compute, extract_shard
from spkdistill.files import read_tsv

RATE = 16000
SAMPLES = np.random.default_rng(0).integers(-3000, 3000, 2 * RATE).astype(np.int16)
SEGMENTS = {
    "a": (0.25, 1.5, 1.0),
    "b": (0.5, 0.607, 1.0),  # long enough for one frame, but not at twice the speed
    "sp0.9-a": (0.25, 1.5, 0.9),
    "sp0.93-a": (0.25, 1.5, 0.93),
    "sp2-a": (0.25, 1.5, 2.0),
    "sp2-b": (0.5, 0.607, 2.0),
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    """Two segments of a recording, and copies."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("call.wav", SAMPLES, RATE)
    tables = {
        "wav.scp": ["call call.wav"],
        "utt2spk": [f"{id} {id}" for id in SEGMENTS],
        "segments": [f"{id} call {start} {end}" for id, (start, end, _) in SEGMENTS.items()],
        "utt2speed": [f"{id} {speed:g}" for id, (_, _, speed) in SEGMENTS.items()],
    }
    for name, lines in tables.items():
        Path(name).write_text("".join(f"{line}\n" for line in lines))
    return tmp_path


def extracted(jobs: int) -> tuple[bytes, str]:
    """The archives of all shards end to end, and their rejections; the last shard first."""
    content, rejected = b"", ""
    for job in range(jobs, 0, -1):
        name = f"{jobs}.{job}"
        wanted = mfcc(dither=1.0, frame_length=100.0, snip_edges=True)
        extract_shard(".", wanted, job, jobs, f"{name}.ark", f"{name}.scp", f"{name}.tsv", False, 3)
        content = Path(f"{name}.ark").read_bytes() + content
        rejected = (
            "".join(f"{id}: {why}\n" for id, why in read_tsv(f"{name}.tsv", ["utterance", "reason"]))
            + rejected
        )
    return content, rejected


def test_they_are_those_of_the_samples_of_the_segment_resampled(data):
    wanted = mfcc()
    extract_shard(".", wanted, 1, 1, "raw.ark", "raw.scp", "raw.tsv", False, 0)
    segment = SAMPLES[RATE // 4 : 3 * RATE // 2].astype(np.float32)
    with ArkReader("raw.scp") as features:
        for id, speed in (("sp0.9-a", 0.9), ("sp0.93-a", 0.93), ("sp2-a", 2.0)):
            by_hand = audio.resample(segment, round(RATE * speed), RATE)
            np.testing.assert_array_equal(features[id], compute(by_hand, wanted))
            assert abs(len(features[id]) - 125 / speed) < 1
        np.testing.assert_array_equal(features["a"], compute(segment, wanted))


@pytest.mark.parametrize("jobs", [2, 3, 6])
def test_they_do_not_depend_on_the_number_of_shards(data, jobs):
    assert extracted(jobs) == extracted(1)


def test_a_copy_that_is_too_short_is_listed_by_its_own_name(data):
    _, rejected = extracted(1)
    assert rejected == "sp2-b: 856 samples are too short for a frame of 1600\n"
