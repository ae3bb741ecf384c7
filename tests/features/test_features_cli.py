"""The subcommands take a data directory to voiced frames, inputs and outputs named on the command line."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from feature_settings import CMN, VAD, mfcc

from spkdistill.arks import ArkReader, write_archive
from spkdistill.cli import features as subcommands
from spkdistill.errors import DataError


def run(command: str, **json_options: dict) -> None:
    parser = ArgumentParser()
    subcommands.add_commands(parser.add_subparsers())
    words = [word for name, value in json_options.items() for word in (f"--{name}", json.dumps(value))]
    options = parser.parse_args([*command.split(), *words])
    options.run(options)


def test_audio_becomes_voiced_frames(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = np.random.default_rng(0).normal(0, 0.1, 32000)
    samples[8000:16000] *= 1e-4
    soundfile.write("a.wav", samples, 16000)
    for name, line in {"wav.scp": "a a.wav", "utt2spk": "a s", "spk2utt": "s a"}.items():
        Path(name).write_text(line + "\n")
    settings = asdict(mfcc(compression="speech-feature"))

    run(
        "features --data . --job 1 --jobs 1 --seed 0 --ark raw.ark --scp raw.scp --rejected raw.tsv",
        settings=settings,
    )
    run("vad --raw raw.scp --ark vad.ark --scp vad.scp", features=settings, settings=asdict(VAD))
    run(
        "normalise --raw raw.scp --vad vad.scp --compression two-byte-auto --ark voiced.ark --scp voiced.scp "
        "--num-frames utt2num_frames --rejected voiced.tsv",
        settings=asdict(CMN),
    )

    with ArkReader("voiced.scp") as reader:
        frames, dim = reader.shape("a")
    assert 150 <= frames <= 156
    assert dim == 30
    assert Path("utt2num_frames").read_text() == f"a {frames}\n"
    assert Path("raw.tsv").read_text() == Path("voiced.tsv").read_text() == "utterance\treason\n"


def test_audio_without_finite_features_is_rejected_and_the_others_go_on(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    samples = np.random.default_rng(0).normal(0, 0.1, 16000)
    soundfile.write("a.wav", samples, 16000)
    soundfile.write("b.wav", samples * 1e22, 16000, subtype="FLOAT")
    for name, lines in {"wav.scp": "a a.wav\nb b.wav\n", "utt2spk": "a s\nb s\n"}.items():
        Path(name).write_text(lines)
    run(
        "features --data . --job 1 --jobs 1 --seed 0 --ark raw.ark --scp raw.scp --rejected raw.tsv",
        settings=asdict(mfcc()),
    )
    assert ArkReader("raw.scp").keys() == ["a"]
    assert "\nb\tb.wav: its features are NaN or infinite" in Path("raw.tsv").read_text()


def test_archives_of_another_kind_are_named(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_archive("ark,scp:vector.ark,vector.scp", [("a", np.ones(50, np.float32))])
    write_archive("ark,scp:matrix.ark,matrix.scp", [("a", np.ones((50, 3), np.float32))])
    with pytest.raises(DataError, match=r"vector.scp:a: shape \(50,\), where features"):
        run("vad --raw vector.scp --ark v.ark --scp v.scp", features=asdict(mfcc()), settings=asdict(VAD))
    outputs = "--compression none --ark n.ark --scp n.scp --num-frames n --rejected n.tsv"
    for raw, vad in (("vector", "vector"), ("matrix", "matrix")):
        with pytest.raises(DataError, match=rf"{raw}.scp:a: shape"):
            run(f"normalise --raw {raw}.scp --vad {vad}.scp {outputs}", settings=asdict(CMN))
    assert not Path("n.scp").exists()
