"""Networks on disk: the same back, or an error that names the file and the tensor."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from spkdistill.errors import DataError
from spkdistill.models.aggregators import AggregatorSettings, build_aggregators
from spkdistill.models.build import build_head, build_model
from spkdistill.models.cost import trained_cost
from spkdistill.models.store import load, load_aggregators, save, save_aggregators

MODEL = {"arch": "xvector", "channels": 8, "pooling_channels": 12, "embedding": 6}
HEAD = {"kind": "aam", "scale": 32.0, "margin": 0.2}
CONFIG = {"model": MODEL, "feature_dim": 5, "head": HEAD, "speakers": ["a", "b", "c"], "seed": 3}


@pytest.fixture
def files(tmp_path):
    """(model, head, path of the weights, path of the config) of a network whose BN has seen data."""
    model, head = build_model(MODEL, 5), build_head(HEAD, 6, 3)
    model(torch.randn(4, 30, 5))
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    save(weights, config, model, head, CONFIG)
    return model, head, weights, config


def test_a_network_comes_back_as_it_was(files):
    model, head, weights, config = files
    loaded, loaded_head, loaded_config = load(weights, config)
    features = torch.randn(2, 30, 5)
    assert torch.equal(loaded(features), model.eval()(features))
    assert torch.equal(loaded_head.plain(loaded(features)), head.eval().plain(model(features)))
    assert loaded_config.pop("made_by")["torch"] == torch.__version__
    assert loaded_config == CONFIG
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_a_network_without_head_comes_back_without(files, tmp_path):
    model, *_ = files
    save(tmp_path / "w", tmp_path / "c", model, None, CONFIG | {"head": None})
    assert load(tmp_path / "w", tmp_path / "c")[1] is None


def test_the_same_network_is_written_as_the_same_bytes(files, tmp_path):
    model, head, weights, _ = files
    save(tmp_path / "again", tmp_path / "c", model, head, CONFIG)
    assert (tmp_path / "again").read_bytes() == weights.read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights_are_named(files, keep):
    _, _, weights, config = files
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"model\.safetensors: not a readable safetensors file"):
        load(weights, config)


def test_a_pickle_is_refused(files):
    _, _, weights, config = files
    torch.save({"a": torch.zeros(3)}, weights)
    with pytest.raises(DataError, match="not a readable safetensors file"):
        load(weights, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": MODEL | {"channels": 9}}, r"frames\.0\.0\.bias: .* \[9\], this file \[8\]"),
        ({"model": {"arch": "fc8", "channels": 8, "layers": 2, "embedding": 6}}, "do not belong together"),
        ({"speakers": ["a"]}, r"head\.weight: .* \[1, 6\], this file \[3, 6\]"),
        ({"head": None}, r"head\.weight: .* absent"),
        ({"model": MODEL | {"channels": 10**7}}, "do not belong together"),
    ],
)
def test_weights_of_another_network_are_refused_before_memory_is_taken(files, change, message):
    _, _, weights, config = files
    config.write_text(json.dumps(CONFIG | change))
    with pytest.raises(DataError, match=message):
        load(weights, config)


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "not finite"), (torch.float64, "expected torch.float32, found torch.float64")],
)
def test_a_wrong_tensor_is_named(files, value, message):
    _, _, weights, config = files
    tensors = load_file(weights)
    tensor = tensors["model.segment6.bias"]
    tensors["model.segment6.bias"] = tensor.to(value) if isinstance(value, torch.dtype) else tensor * value
    save_file(tensors, weights)
    with pytest.raises(DataError, match=rf"model\.segment6\.bias: {message}"):
        load(weights, config)


def test_missing_files_and_foreign_configs_are_named(files, tmp_path):
    _, _, weights, config = files
    with pytest.raises(DataError, match="none: no such file"):
        load(tmp_path / "none", config)
    with pytest.raises(DataError, match="none: no such file"):
        load(weights, tmp_path / "none")
    for text in ("{}", "[]", '{"model": {}}'):
        config.write_text(text)
        with pytest.raises(DataError, match=r"config\.json: no '.*' in it"):
            load(weights, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"arch": "other"}}, r"model\.arch: 'other' is not known; choose from xvector, etdnn"),
        ({"model": {"arch": ["xvector"]}}, r"model\.arch: \['xvector'\] is not known"),
        ({"model": "xvector"}, r"config\.model: expected dict, found 'xvector'"),
        ({"model": MODEL | {"channels": "8"}}, r"model\.channels: expected int, found '8'"),
        ({"model": MODEL | {"channels": 0}}, r"model\.channels: expected 1 to \d+, found 0"),
        ({"model": MODEL | {"embedding": 10**30}}, r"model\.embedding: expected 1 to \d+, found 10+"),
        (
            {"model": {"arch": "fc8", "channels": 8, "layers": 10**6, "embedding": 6}},
            r"model\.layers: expected 1",
        ),
        ({"feature_dim": None}, r"config\.feature_dim: expected int, found None"),
        ({"feature_dim": -5}, r"config\.feature_dim: expected 1 to \d+, found -5"),
        ({"head": "aam"}, r"config\.head: expected dict, found 'aam'"),
        ({"head": HEAD | {"scale": [32]}}, r"head\.scale: expected float, found \[32\]"),
        ({"speakers": 3}, r"config\.speakers: expected list, found 3"),
    ],
)
def test_a_config_edited_wrongly_is_named(files, change, message):
    _, _, weights, config = files
    config.write_text(json.dumps(CONFIG | change))
    for read in (lambda: load(weights, config), lambda: trained_cost(config)):
        with pytest.raises(DataError, match=rf"config\.json: {message}"):
            read()


def test_aggregators_come_back_and_must_fit_the_teacher(tmp_path):
    aggregators = build_aggregators(AggregatorSettings(6, 3), [4, 5])
    weights, config = tmp_path / "aggregators.safetensors", tmp_path / "aggregators.json"
    save_aggregators(weights, config, aggregators, {"aggregators": {"embedding": 6, "components": 3}})
    loaded = load_aggregators(weights, config, [4, 5])
    layers = [torch.randn(2, 4, 12), torch.randn(2, 5, 8)]
    for name in ("sp_aggr", "lde_aggr"):
        assert torch.equal(loaded[name](layers), aggregators[name](layers))
    with pytest.raises(DataError, match="do not belong together"):
        load_aggregators(weights, config, [4, 6])
    config.write_text('{"aggregators": {"embedding": 6, "components": -1}}')
    with pytest.raises(DataError, match=r"aggregators\.json: aggregators\.components: expected 1 to"):
        load_aggregators(weights, config, [4, 5])


def test_the_heads_of_a_students_targets_count_as_they_did_when_it_was_trained(files):
    config = files[-1]
    config.write_text(json.dumps(CONFIG))
    with_head = trained_cost(config)["with_head"]
    size = {"parameters": 9, "bytes": 36, "macs_per_second": 7, "embedding_dim": 6}
    config.write_text(json.dumps(CONFIG | {"cost": size | {"parameters_with_head": with_head + 1000}}))
    assert trained_cost(config)["with_head"] == with_head + 1000
    config.write_text(json.dumps(CONFIG | {"cost": size | {"parameters_with_head": "many"}}))
    with pytest.raises(DataError, match=r"config\.json: cost\.parameters_with_head: expected int"):
        trained_cost(config)


def test_the_cost_of_a_network_that_fits_no_memory_takes_none(files):
    config = files[-1]
    config.write_text(json.dumps(CONFIG | {"model": MODEL | {"channels": 10**7}}))
    assert trained_cost(config)["parameters"] > 10**14


@pytest.mark.parametrize("arch", ["xvector", "conformer", "redimnet"])
def test_a_network_is_loaded_without_the_compiler(tmp_path, arch):
    """It takes as long to import as all the rest of a job that embeds."""
    sizes = {
        "xvector": {"channels": 8, "pooling_channels": 8},
        "conformer": {"channels": 8, "blocks": 1, "heads": 2, "hidden": 8, "kernel": 3, "subsampling": 2}
        | {"bottleneck": 4, "dropout": 0.0},
        "redimnet": {"channels": 4, "strides": [2], "blocks": [1], "expansions": [1], "reductions": [1]}
        | {"kind": "convnext", "group": 4, "bottleneck": 4},
    }
    config = {
        "model": {"arch": arch, "embedding": 6, **sizes[arch]},
        "feature_dim": 8,
        "speakers": ["a", "b"],
    }
    config["head"] = {"kind": "aam", "scale": 32.0, "margin": 0.2}
    paths = [tmp_path / "model.safetensors", tmp_path / "config.json"]
    model = build_model(config["model"], 8)
    save(*paths, model, build_head(config["head"], 6, 2), config)
    code = (
        "import sys; from spkdistill.models import device, store; device.prepare(1); "
        f"store.load({str(paths[0])!r}, {str(paths[1])!r}); "
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    loaded, _, _ = load(*paths)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
