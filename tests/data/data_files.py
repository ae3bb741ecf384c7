"""Files of a small corpus: two speakers of each sex, three utterances each."""

from pathlib import Path

import numpy as np
import soundfile

SPEAKERS = {"a1": "f", "b2": "f", "c3": "m", "d4": "m"}
UTTERANCES = [f"{speaker}-{number}" for speaker in SPEAKERS for number in range(3)]


def write_wav(path: Path, seconds: float = 0.5, rate: int = 16000, channels: int = 1) -> None:
    samples = np.random.default_rng(0).integers(-1000, 1000, (int(seconds * rate), channels), dtype=np.int16)
    soundfile.write(path, samples, rate, subtype="PCM_16", format="WAV")


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
