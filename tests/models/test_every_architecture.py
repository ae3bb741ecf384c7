"""What trainings, dumps and extractions rely on, of every architecture."""

import copy

import pytest
import torch
from small_networks import FEATURES, SMALL

from spkdistill.errors import ConfigError
from spkdistill.models.aggregators import AggregatorSettings, aggregated, build_aggregators
from spkdistill.models.build import ARCHITECTURES, build_model
from spkdistill.models.store import load, save
from spkdistill.training import batch_norm


@pytest.fixture(params=SMALL)
def model(request):
    return build_model(SMALL[request.param], FEATURES)


def trained(model):
    """The same network with other running statistics than at first, in eval mode."""
    model(torch.randn(4, 40, FEATURES) + 1)
    return model.eval()


def test_all_architectures_are_tested():
    assert SMALL.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_step_gives_every_parameter_a_finite_gradient(model, precision):
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        embedding = model(torch.randn(4, 40, FEATURES))
    assert embedding.dtype == torch.float32
    embedding.pow(3).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert any(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_the_same_step_gives_the_same_bytes(model):
    features, gradients = torch.randn(4, 40, FEATURES), []
    torch.use_deterministic_algorithms(True)
    try:
        for network in (model, copy.deepcopy(model)):
            torch.manual_seed(2)  # dropout
            with torch.autocast("cpu", torch.bfloat16):
                network(features).pow(3).sum().backward()
            gradients.append([parameter.grad for parameter in network.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(map(torch.equal, *gradients))


def test_layers_have_the_declared_sizes_and_the_last_gives_the_embedding(model):
    features = torch.randn(3, 41, FEATURES)
    layers = trained(model).frame_layers(features)
    assert [layer.shape[:2] for layer in layers] == [(3, size) for size in model.layer_dims]
    torch.testing.assert_close(model.embed(layers[-1]), model(features))
    if hasattr(model, "NARROW_BN"):
        assert model.layer_dims[model.NARROW_BN] <= model.layer_dims[model.WIDE_BN]


def test_an_embedding_does_not_depend_on_the_rest_of_the_batch(model):
    features = torch.randn(4, 40, FEATURES)
    torch.testing.assert_close(trained(model)(features)[1:2], model(features[1:2]))


def test_any_utterance_from_the_receptive_field_on_has_an_embedding(model):
    trained(model)
    for frames in (0, 1, 2, 3, 62):
        embedding = model(torch.randn(1, model.receptive_field + frames, FEATURES))
        assert embedding.shape == (1, 6)
        assert embedding.isfinite().all()
    if model.receptive_field > 1:
        with pytest.raises(RuntimeError, match="size"):
            model(torch.randn(1, model.receptive_field - 1, FEATURES))


def test_bfloat16_is_near_float32(model):
    """Also where convolutions have strides: see models/resnet.py."""
    features = torch.randn(4, 40, FEATURES)
    expected = trained(model)(features)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(model(features), expected, atol=0.1, rtol=0.1)


def test_a_network_comes_back_from_disk(model, tmp_path):
    (arch,) = [name for name, (kind, _) in ARCHITECTURES.items() if type(model) is kind]
    config = {"model": SMALL[arch], "feature_dim": FEATURES, "head": None, "speakers": []}
    save(tmp_path / "w", tmp_path / "c", trained(model), None, config)
    features = torch.randn(2, 40, FEATURES)
    assert torch.equal(load(tmp_path / "w", tmp_path / "c")[0](features), model(features))


def test_aggregators_pool_the_declared_layers(model):
    layers = aggregated(model, trained(model).frame_layers(torch.randn(3, 40, FEATURES)))
    aggregators = build_aggregators(AggregatorSettings(5, 2), aggregated(model, model.layer_dims))
    aggregators["lde_aggr"].initialise(layers)
    for aggregator in aggregators.values():
        assert aggregator(layers).isfinite().all()
        assert aggregator(layers).shape == (3, 5)


def test_synchronised_batch_normalisation_of_one_process_changes_nothing(model, monkeypatch):
    monkeypatch.setattr(batch_norm, "gather", lambda moments: moments.unsqueeze(0))
    features = torch.randn(4, 40, FEATURES)
    other = copy.deepcopy(model)
    batch_norm.synchronise(other)
    kinds = {type(module).__name__ for module in other.modules()}
    assert "SynchronisedBatchNorm" in kinds
    assert not {"BatchNorm1d", "BatchNorm2d"} & kinds
    for network in (model, other):
        torch.manual_seed(2)  # dropout
        network(features)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, msg=name)


@pytest.mark.parametrize(
    ("arch", "change", "message"),
    [
        ("dtdnn", {"blocks": [6]}, r"model.blocks: expected two numbers of layers, found \[6\]"),
        ("dtdnn", {"blocks": [6, "2"]}, r"model.blocks: expected whole numbers .*, found \[6, '2'\]"),
        ("ecapa", {"channels": 2**20, "scale": 2**20}, "model.scale: expected 1 to 200"),
        ("ecapa", {"channels": 9}, "model.channels: 9 is no multiple of model.scale 4"),
        (
            "resnet",
            {"blocks": [1, 1, 1]},
            r"model.blocks: expected four numbers of blocks, found \[1, 1, 1\]",
        ),
        ("resnet", {"blocks": [1, 1, 1, 1000]}, "model.blocks: expected 1 to 200, found 1000"),
        ("resnet", {"blocks": [60, 60, 60, 60]}, "model.blocks: .* that add up to 200 or less"),
        ("resnet", {"bottleneck": 1}, "model.bottleneck: expected bool, found 1"),
        ("res2net", {"scale": 4}, "model.channels: 6 is no multiple of model.scale 4"),
        ("camplus", {"blocks": [1, 1]}, r"model.blocks: expected three numbers of layers, found \[1, 1\]"),
        ("redimnet", {"blocks": [1]}, "model.strides, blocks, .*: expected as many numbers each"),
        ("redimnet", {"strides": [1, 2]}, "model.strides: their product does not divide the 9 features"),
        ("redimnet", {"kind": "se"}, "model.kind: expected one of convnext, resnet, resnet_se, found 'se'"),
        ("redimnet", {"reductions": [0, 4]}, "model.reductions: 4 leaves 18 units"),
        ("redimnet", {"group": 3}, "model.group: 3 does not divide 16 channels"),
        ("redimnet", {"blocks": [1, 0]}, "model.blocks: expected 1 to 200, found 0"),
        ("conformer", {"heads": 3}, "model.channels: 8 is no multiple of twice model.heads 3"),
        ("conformer", {"kernel": 4}, "model.kernel: expected an odd number of frames, found 4"),
        ("conformer", {"subsampling": 3}, "model.subsampling: expected 2 or 4, found 3"),
        ("conformer", {"dropout": 1.0}, "model.dropout: expected a share under 1, found 1.0"),
        (
            "mobilenet",
            {"channels": 2**24, "expansion": 2**24},
            "model: torch cannot build a network of these",
        ),
        ("mobilenet", {"channels": 0}, "model.channels: expected 1 to"),
    ],
)
def test_settings_that_do_not_fit_are_named(arch, change, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        build_model(SMALL[arch] | change, FEATURES)
