"""Raw features, voice activity and voiced frames by shards: the bytes of one job, in any order."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from feature_settings import CMN, VAD, mfcc

from spkdistill.arks import ArkReader
from spkdistill.cli import main
from spkdistill.features.cmn import normalise_shard
from spkdistill.features.extract import extract_shard
from spkdistill.features.vad import vad_shard

UTTERANCES = ["a1", "a2", "b1", "b2", "c1"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    """Five utterances, one too short for a feature and one for voiced frames."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, seconds in zip(UTTERANCES, (1.0, 1.5, 0.0, 0.2, 0.8), strict=True):
        soundfile.write(f"{name}.wav", rng.normal(0, 0.1, int(16000 * seconds)), 16000)
    Path("wav.scp").write_text("".join(f"{name} {name}.wav\n" for name in UTTERANCES))
    Path("utt2spk").write_text("".join(f"{name} {name[0]}\n" for name in UTTERANCES))
    return tmp_path


def voiced_in_shards(folder: Path, jobs: int) -> None:
    """The three stages, shards from the last to the first, and their merges."""
    folder.mkdir()
    settings = mfcc(compression="two-byte-auto", dither=1.0)
    for job in range(jobs, 0, -1):
        raw, vad, voiced = (str(folder / f"{name}.{job}") for name in ("raw", "vad", "voiced"))
        extract_shard(".", settings, job, jobs, f"{raw}.ark", f"{raw}.scp", f"{raw}.tsv", False, 3)
        vad_shard(f"{raw}.scp", settings, VAD, f"{vad}.ark", f"{vad}.scp")
        outputs = f"{voiced}.ark", f"{voiced}.scp", str(folder / f"frames.{job}"), f"{voiced}.tsv"
        normalise_shard(f"{raw}.scp", f"{vad}.scp", CMN, "two-byte-auto", *outputs)
    merge(folder, "raw", jobs, "utt2spk")
    merge(folder, "voiced", jobs, str(folder / "raw.scp"))
    frames = [str(folder / f"frames.{job}") for job in range(1, jobs + 1)]
    assert main(["merge", "--parts", *frames, "--output", str(folder / "utt2num_frames")]) == 0


def merge(folder: Path, name: str, jobs: int, expected: str) -> None:
    parts = [[str(folder / f"{name}.{job}.{end}") for job in range(1, jobs + 1)] for end in ("scp", "tsv")]
    outputs = ["--output", f"{folder}/{name}.scp", "--rejected-output", f"{folder}/{name}_rejected.tsv"]
    share = ["--expected", expected, "--max-rejected", "0.5"]
    assert main(["merge", "--parts", *parts[0], "--rejected", *parts[1], *share, *outputs]) == 0


@pytest.mark.parametrize("jobs", [2, 3, 7])
def test_voiced_frames_do_not_depend_on_the_number_of_shards(data, jobs):
    one, many = data / "one", data / "many"
    voiced_in_shards(one, 1)
    voiced_in_shards(many, jobs)
    for name in ("raw", "vad", "voiced"):
        arks = [(many / f"{name}.{job}.ark").read_bytes() for job in range(1, jobs + 1)]
        assert b"".join(arks) == (one / f"{name}.1.ark").read_bytes()
    assert ArkReader(many / "voiced.scp").keys() == ["a1", "a2", "c1"]
    for name in ("raw_rejected.tsv", "voiced_rejected.tsv", "utt2num_frames"):
        assert (many / name).read_bytes() == (one / name).read_bytes()
    assert "b1" in (one / "raw_rejected.tsv").read_text()
    assert "b2" in (one / "voiced_rejected.tsv").read_text()
