"""A small corpus on disk."""

from pathlib import Path

import pytest
from data_files import SPEAKERS, UTTERANCES, write_lines, write_wav


@pytest.fixture
def corpus(tmp_path) -> Path:
    """A Kaldi data directory, with paths relative to its parent folder."""
    directory = tmp_path / "corpus"
    (tmp_path / "audio").mkdir()
    directory.mkdir()
    for utterance in UTTERANCES:
        write_wav(tmp_path / "audio" / f"{utterance}.wav")
    files = {
        "wav.scp": [f"{utterance} audio/{utterance}.wav" for utterance in UTTERANCES],
        "utt2spk": [f"{utterance} {utterance[:2]}" for utterance in UTTERANCES],
        "spk2utt": [f"{s} " + " ".join(u for u in UTTERANCES if u.startswith(s)) for s in SPEAKERS],
        "spk2gender": [f"{speaker} {sex}" for speaker, sex in SPEAKERS.items()],
        "trials": ["a1-0 a1-1 target", "a1-0 b2-0 nontarget", "c3-0 d4-2 nontarget", "d4-0 d4-1 target"],
    }
    for name, lines in files.items():
        write_lines(directory / name, lines)
    return directory


@pytest.fixture
def edit():
    """Replace text in a file."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return replace


@pytest.fixture
def with_segments(corpus) -> Path:
    """The same utterances as stretches of two long recordings."""
    for recording in ("call1", "call2"):
        write_wav(corpus.parent / "audio" / f"{recording}.wav", seconds=3.0)
    write_lines(corpus / "wav.scp", [f"{name} audio/{name}.wav" for name in ("call1", "call2")])
    lines = [
        f"{u} call{1 + i % 2} {0.25 * (i // 2)} {0.25 * (i // 2) + 0.5}" for i, u in enumerate(UTTERANCES)
    ]
    write_lines(corpus / "segments", lines)
    return corpus
