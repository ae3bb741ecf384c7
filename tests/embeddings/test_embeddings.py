"""Embeddings of whole utterances: the network's output on each alone, whatever the shards."""

import argparse

import numpy as np
import pytest
import torch

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.cli.embeddings import add_commands
from spkdistill.embeddings import extract_shard
from spkdistill.errors import DataError
from spkdistill.models.build import build_model
from spkdistill.models.store import load, save
from spkdistill.shards import shard

XVECTOR = {"arch": "xvector", "channels": 8, "pooling_channels": 12, "embedding": 6}
FC8 = {"arch": "fc8", "channels": 8, "layers": 3, "embedding": 6}


@pytest.fixture(params=[XVECTOR, FC8], ids=["xvector", "fc8"])
def network(request, tmp_path) -> tuple[str, str]:
    """(weights, config) of a small network whose BN has seen data."""
    torch.manual_seed(0)
    model = build_model(request.param, 5)
    model(torch.randn(8, 40, 5) + 1)
    config = {"model": request.param, "feature_dim": 5, "head": None, "speakers": []}
    save(tmp_path / "model", tmp_path / "config", model, None, config)
    return str(tmp_path / "model"), str(tmp_path / "config")


@pytest.fixture
def features(tmp_path) -> dict[str, np.ndarray]:
    """{utterance: frames} in voiced.scp: some shorter than the receptive field."""
    random = np.random.default_rng(0)
    matrices = {
        f"u{frames:02d}": random.standard_normal((frames, 5)) for frames in (1, 7, 14, 15, 16, 25, 50)
    }
    return write(tmp_path / "voiced", {name: matrix.astype(np.float32) for name, matrix in matrices.items()})


def write(stem, matrices: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Write an archive and its index at `stem`."""
    with ArkWriter(f"{stem}.ark", f"{stem}.scp") as writer:
        for name, matrix in matrices.items():
            writer.write(name, matrix)
    return matrices


def test_embedding_is_the_networks_output_on_the_whole_utterance(network, features, tmp_path):
    extract_shard(*network, tmp_path / "voiced.scp", tmp_path / "x.ark", tmp_path / "x.scp", threads=1)
    model, _, _ = load(*network)
    reader = ArkReader(tmp_path / "x.scp")
    assert reader.keys() == sorted(features)
    for name, matrix in features.items():
        repeated = np.concatenate([matrix] * 15)[: max(len(matrix), model.receptive_field)]
        with torch.no_grad():
            expected = model(torch.from_numpy(repeated).unsqueeze(0))[0].numpy()
        assert reader[name].dtype == np.float32
        np.testing.assert_allclose(reader[name], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jobs", [2, 3, 7, 20])
def test_embeddings_are_the_same_bytes_in_any_number_of_shards(network, features, tmp_path, jobs):
    extract_shard(*network, tmp_path / "voiced.scp", tmp_path / "x.ark", tmp_path / "x.scp", threads=1)
    whole = ArkReader(tmp_path / "x.scp")
    names = []
    for job in range(1, jobs + 1):
        stem = tmp_path / f"voiced.{job}"
        write(stem, {name: features[name] for name in shard(sorted(features), job, jobs)})
        extract_shard(*network, f"{stem}.scp", tmp_path / "y.ark", tmp_path / "y.scp", threads=1)
        with ArkReader(tmp_path / "y.scp") as part:
            names += part.keys()
            assert part.gather(part.keys()).tobytes() == whole.gather(part.keys()).tobytes()
    assert names == whole.keys()


def test_features_of_another_dimension_are_named(network, tmp_path):
    write(tmp_path / "voiced", {"a": np.zeros((20, 4), np.float32)})
    with pytest.raises(DataError, match=r"voiced\.scp:a: features are \(20, 4\), expected \(frames, 5\)"):
        extract_shard(*network, tmp_path / "voiced.scp", tmp_path / "x.ark", tmp_path / "x.scp", threads=1)
    assert not (tmp_path / "x.scp").exists()


def test_the_subcommand_writes_the_same_embeddings(network, features, tmp_path):
    extract_shard(*network, tmp_path / "voiced.scp", tmp_path / "x.ark", tmp_path / "x.scp", threads=1)
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    command = ["embed", "--model", network[0], "--config", network[1], "--threads", "1"]
    command += ["--features", str(tmp_path / "voiced.scp")]
    options = parser.parse_args(
        [*command, "--ark", str(tmp_path / "z.ark"), "--scp", str(tmp_path / "z.scp")]
    )
    options.run(options)
    assert (tmp_path / "z.ark").read_bytes() == (tmp_path / "x.ark").read_bytes()
