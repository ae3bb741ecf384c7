"""A tiny training set on disk: six speakers, each a cloud of its own in eight dimensions."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from spkdistill.arks import ArkWriter
from spkdistill.training.data import Inputs
from spkdistill.views import ViewSettings, make_views, write_speakers, write_views


class Corpus(NamedTuple):
    """The files that a training reads; `targets` are {part: scp} of made-up vectors."""

    inputs: Inputs
    targets: dict[str, Path]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """36 utterances of 20 to 39 frames, 72 views of 24 frames."""
    folder, random = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    frames = {f"s{s}-u{u}": 20 + int(random.integers(20)) for s in range(6) for u in range(6)}
    means = {utterance: np.random.default_rng(int(utterance[1])).normal(size=8) for utterance in frames}
    with ArkWriter(folder / "voiced.ark", folder / "voiced.scp") as writer:
        for key in sorted(frames):
            noise = random.normal(size=(frames[key], 8))
            writer.write(key, (means[key] + noise).astype(np.float32))
    settings = ViewSettings(frames=24, per_utterance=2, min_frames=1, min_utterances=1)
    views, _ = make_views(frames, {key: key[:2] for key in frames}, settings, 0)
    write_views(folder / "views.tsv", views)
    write_speakers(folder / "speakers", views)
    targets = {part: folder / f"{part}.scp" for part in ("xvector", "wide_bn", "logits")}
    for part, size in zip(targets, (4, 5, 6), strict=True):
        with ArkWriter(folder / f"{part}.ark", targets[part]) as writer:
            for view in views.ids:
                vector = random.normal(size=size)
                vector[int(view[1]) % size] += 4
                writer.write(view, vector.astype(np.float32))
    return Corpus(Inputs(folder / "views.tsv", folder / "speakers", folder / "voiced.scp"), targets)


@pytest.fixture
def training() -> dict:
    """The `training` of a config."""
    return {
        "epochs": 3,
        "batch_size": 16,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "final_learning_rate": 0.001,
        "warmup_epochs": 0.5,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "precision": "float32",
        "threads": 1,
        "processes": 1,
        "spec_augment": {"time_masks": 1, "time_width": 5, "frequency_masks": 1, "frequency_width": 2},
        "gradient_clip": 5.0,
        "checkpoint_minutes": 60,
    }


@pytest.fixture
def settings(training) -> dict:
    """A teacher's settings, as `train` gets them."""
    return {
        "features": "mfcc",
        "model": {"arch": "xvector", "channels": 12, "pooling_channels": 16, "embedding": 8},
        "head": {"kind": "aam", "scale": 16.0, "margin": 0.1},
        "training": training,
    }
