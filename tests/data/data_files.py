"""Files of a small corpus: two speakers of each sex, three utterances each."""

from pathlib import Path

import numpy as np
import soundfile

from spkdistill.data.inspect import inspect
from spkdistill.data.prepare import prepare

SPEAKERS = {"a1": "f", "b2": "f", "c3": "m", "d4": "m"}
UTTERANCES = [f"{speaker}-{number}" for speaker in SPEAKERS for number in range(3)]


def write_wav(path: Path, seconds: float = 0.5, rate: int = 16000, channels: int = 1) -> None:
    samples = np.random.default_rng(0).integers(-1000, 1000, (int(seconds * rate), channels), dtype=np.int16)
    soundfile.write(path, samples, rate, subtype="PCM_16", format="WAV")


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def prepare_set(
    settings: dict,
    max_rejected: float = 0.5,
    allow_pipes: bool = False,
    allow_outside: bool = False,
    jobs: int = 2,
    output: str = "out",
    speeds: tuple[float, ...] = (),
) -> Path:
    """Inspect the recordings of a set in so many shards, the last one first, and prepare it."""
    headers = [Path(output, f"headers.{job}.tsv") for job in range(1, jobs + 1)]
    for job in range(jobs, 0, -1):
        inspect(settings, allow_pipes, allow_outside, job, jobs, headers[job - 1])
    prepare(settings, 0, max_rejected, allow_pipes, [], headers, output, speeds)
    return Path(output)
