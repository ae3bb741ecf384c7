"""The networks against their layer tables."""

import pytest
import torch

from spkdistill.errors import ConfigError
from spkdistill.models.build import build_head, build_model
from spkdistill.models.cost import macs_per_second, parameters

XVECTOR = {"arch": "xvector", "channels": 512, "pooling_channels": 1500, "embedding": 512}
SMALL = {"arch": "xvector", "channels": 8, "pooling_channels": 12, "embedding": 6}
FC8 = {"arch": "fc8", "channels": 256, "layers": 8, "embedding": 512}
SMALL_FC8 = {"arch": "fc8", "channels": 8, "layers": 3, "embedding": 6}


def test_xvector_has_kaldis_parameters_with_and_without_its_softmax():
    model, head = build_model(XVECTOR, 30), build_head({"kind": "softmax", "hidden": 512}, 512, 7323)
    assert parameters(model) == 4_219_868
    assert parameters(model) + parameters(head) == 8_239_223


@pytest.mark.parametrize(("size", "smaller"), [(512, 0.911), (1500, 0.850), (3036, 0.754)])
def test_fc8_has_the_papers_parameters_and_reductions(size, smaller):
    count = parameters(build_model(FC8 | {"embedding": size}, 30))
    assert count == 468_480 + 513 * size
    assert round(1 - count / 8_239_223, 3) == smaller


def test_macs_are_those_of_the_layer_table():
    per_frame = 30 * 5 * 512 + 2 * 512 * 3 * 512 + 512 * 512 + 512 * 1500
    assert macs_per_second(build_model(XVECTOR, 30)) == 100 * per_frame + 3000 * 512
    assert macs_per_second(build_model(FC8, 30)) == 100 * (30 * 256 + 7 * 256 * 256) + 512 * 512


@pytest.mark.parametrize("settings", [SMALL, SMALL_FC8])
def test_receptive_field_is_what_an_output_frame_depends_on(settings):
    model = build_model(settings, 5).eval()
    features = torch.randn(1, 41, 5, requires_grad=True)
    last = model.frame_layers(features)[-1]
    middle = last.shape[2] // 2
    (gradient,) = torch.autograd.grad(last[0, :, middle].square().sum(), features)
    (seen,) = torch.nonzero(gradient[0].abs().sum(1), as_tuple=True)
    assert model.receptive_field == {"xvector": 15, "fc8": 1}[settings["arch"]]
    assert last.shape[2] == 41 - model.receptive_field + 1
    assert (seen[0], seen[-1]) == (middle, middle + model.receptive_field - 1)


def test_xvector_splices_the_frames_of_the_layer_table():
    model = build_model(SMALL, 5).double().eval()
    features = torch.randn(20, 5, dtype=torch.float64)
    hidden = features
    for layer, offsets in zip(
        model.frames, [(-2, -1, 0, 1, 2), (-2, 0, 2), (-3, 0, 3), (0,), (0,)], strict=True
    ):
        affine, _, norm = layer
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
        centres = range(-offsets[0], len(hidden) - offsets[-1])
        hidden = torch.stack([
            sum(affine.weight[:, :, 0, place] @ hidden[t + offset] for place, offset in enumerate(offsets))
            for t in centres
        ])  # fmt: skip
        hidden = torch.relu(hidden + affine.bias)
        hidden = (hidden - norm.running_mean) / torch.sqrt(norm.running_var + 1e-3)
    pooled = torch.cat([hidden.mean(0), hidden.var(0, correction=0).clamp(min=1e-10).sqrt()])
    expected = model.segment6.weight @ pooled + model.segment6.bias
    torch.testing.assert_close(model(features.unsqueeze(0))[0], expected)


def test_fc8_in_training_is_its_formula_with_the_statistics_of_the_batch():
    model = build_model(SMALL_FC8, 5).double()
    features = torch.randn(4, 20, 5, dtype=torch.float64)
    hidden = features
    for affine, _, _ in model.frames:
        hidden = torch.relu(hidden @ affine.weight[:, :, 0, 0].T + affine.bias)
        mean, variance = hidden.mean((0, 1)), hidden.var((0, 1), correction=0)
        hidden = (hidden - mean) / torch.sqrt(variance + 1e-3)
    pooled = torch.cat([hidden.mean(1), hidden.var(1, correction=0).clamp(min=1e-10).sqrt()], 1)
    expected = pooled @ model.output.weight.T + model.output.bias
    torch.testing.assert_close(model(features), expected)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("settings", [SMALL, SMALL_FC8])
def test_channels_stay_innermost_in_memory(settings, precision):
    """Otherwise each layer copies its input, and training takes half as long again."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        layers = build_model(settings, 5).frame_layers(torch.randn(4, 30, 5))
    for layer in layers:
        assert layer.dtype == precision
        assert layer.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("settings", [SMALL, SMALL_FC8])
def test_embedding_of_a_view_does_not_depend_on_the_rest_of_the_batch(settings):
    model = build_model(settings, 5).eval()
    features = torch.randn(4, 30, 5)
    torch.testing.assert_close(model(features)[1:2], model(features[1:2]))


@pytest.mark.parametrize("settings", [SMALL, SMALL_FC8])
def test_embedding_is_float32_under_bfloat16_autocast(settings):
    model = build_model(settings, 5)
    features = torch.randn(4, 30, 5)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = model(features)
    embedding.square().sum().backward()
    assert embedding.dtype == torch.float32
    torch.testing.assert_close(embedding, model(features), atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"arch": "other"}, "model.arch: 'other' is not known; choose from xvector, etdnn, .*, fc8"),
        ({"channels": 8}, "model.arch: None is not known"),
        (SMALL | {"channels": 0}, "model.channels: expected 1 to"),
        (SMALL | {"layers": 3}, "model.layers: no such setting"),
        ({"arch": "fc8", "channels": 8, "layers": 2}, "model.embedding: this setting is missing"),
    ],
)
def test_wrong_settings_name_the_key(settings, message):
    with pytest.raises(ConfigError, match=message):
        build_model(settings, 30)
