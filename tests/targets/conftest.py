"""A small teacher, and views for it to answer."""

import numpy as np
import pytest
import torch
from dumping import AGGREGATORS, HEAD, MODEL

from spkdistill.arks import ArkWriter
from spkdistill.distill.targets import TeacherFiles
from spkdistill.models.aggregators import AggregatorSettings, build_aggregators
from spkdistill.models.build import build_head, build_model
from spkdistill.models.store import save, save_aggregators
from spkdistill.views import ViewSettings, make_views, write_views


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> TeacherFiles:
    """The files of a small teacher with aggregators, whose BN has seen data."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("teacher")
    files = TeacherFiles(*(str(folder / name) for name in TeacherFiles._fields))
    model = build_model(MODEL, 5)
    model(torch.randn(8, 40, 5) + 1)
    config = {"model": MODEL, "feature_dim": 5, "head": HEAD, "speakers": [f"s{n}" for n in range(10)]}
    save(files.model, files.config, model, build_head(HEAD, 6, 10), config)
    aggregators = build_aggregators(AggregatorSettings(**AGGREGATORS), model.layer_dims)
    save_aggregators(files.aggregators, files.aggregators_config, aggregators, {"aggregators": AGGREGATORS})
    return files


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple:
    """(views, path of views.tsv, scp, {utterance: features}): 160 views, some that wrap around."""
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    lengths = {f"s{n % 10}-{n:02d}": 20 + 3 * n for n in range(40)}
    lengths = dict(sorted(lengths.items()))
    features = {
        name: random.standard_normal((frames, 5)).astype(np.float32) for name, frames in lengths.items()
    }
    with ArkWriter(folder / "voiced.ark", folder / "voiced.scp") as writer:
        for name, matrix in features.items():
            writer.write(name, matrix)
    speaker_of = {name: name[:2] for name in lengths}
    views, _ = make_views(lengths, speaker_of, ViewSettings(50, 4, 10, 1), seed=0)
    write_views(folder / "views.tsv", views)
    return views, folder / "views.tsv", folder / "voiced.scp", features
