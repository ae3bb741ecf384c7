"""Layers of the architectures against their formulas, written out."""

import math

import pytest
import torch
from small_networks import FEATURES, SMALL

from spkdistill.models.build import build_model
from spkdistill.models.camplus import ContextMask
from spkdistill.models.conformer import ConvolutionModule, RelativeAttention, relative_positions
from spkdistill.models.dtdnn import DenseLayer
from spkdistill.models.ecapa import SeRes2Block
from spkdistill.models.maps import MapNetwork
from spkdistill.models.redimnet import HEADS, FrequencyGate, Stage, TransformerLayer, weighted_sum
from spkdistill.models.res2net import Res2Body
from spkdistill.models.samresnet import SimAm


def test_se_res2_block_is_its_formula():
    block = SeRes2Block(8, 4, 3, dilation=2).double().eval()
    image = torch.randn(2, 8, 1, 15, dtype=torch.float64)
    first, second, third, fourth = block.before(image).split(2, 1)
    second = block.groups[0](second)
    third = block.groups[1](third + second)
    fourth = block.groups[2](fourth + third)
    after = block.after(torch.cat([first, second, third, fourth], 1))
    affine, _, other, _ = block.squeeze
    squeezed = torch.relu(after.mean((2, 3)) @ affine.weight[:, :, 0, 0].T + affine.bias)
    gate = torch.sigmoid(squeezed @ other.weight[:, :, 0, 0].T + other.bias)
    torch.testing.assert_close(block(image), after * gate[:, :, None, None])


def test_res2_body_is_its_formula():
    body = Res2Body(5, 6, (2, 2), scale=3).double().eval()
    image = 9 * torch.randn(2, 5, 7, 9, dtype=torch.float64)
    first, second, third = body.before(image[:, :, ::2, ::2]).split(2, 1)
    first = body.groups[0](first)
    second = body.groups[1](second + first)
    torch.testing.assert_close(body(image), body.after(torch.cat([first, second, third], 1)))
    assert body.before(100 * image).max() == 20


def test_simam_is_its_formula_position_by_position():
    image = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    attended = SimAm()(image)
    for values, found in zip(image.flatten(2).flatten(0, 1), attended.flatten(2).flatten(0, 1), strict=True):
        energy = (values - values.mean()) ** 2 / (4 * (values.var(correction=1) + 1e-4)) + 0.5
        torch.testing.assert_close(found, values / (1 + torch.exp(-energy)))


def test_context_mask_is_that_of_segments_of_a_hundred_frames():
    mask = ContextMask(6, 4).double()
    image = torch.randn(2, 6, 1, 250, dtype=torch.float64)
    found = mask(image)
    for start, end in ((0, 100), (100, 200), (200, 250)):
        context = image.mean(3) + image[:, :, :, start:end].mean(3)
        expected = mask.mask(context.unsqueeze(3))
        torch.testing.assert_close(found[:, :, :, start:end], expected.expand(-1, -1, -1, end - start))


def test_frequency_gate_is_its_formula():
    gate = FrequencyGate(5, 7).double()
    image = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    first, _, second, _ = gate.gate
    hidden = torch.relu(image.mean((1, 2)) @ first.weight.T + first.bias)
    weights = torch.sigmoid(hidden @ second.weight.T + second.bias)
    torch.testing.assert_close(gate(image), torch.einsum("bctf,bf->bctf", image, weights))


def test_transformer_layer_is_torchs_with_gelu_and_norms_after():
    layer = TransformerLayer(12).double()
    other = torch.nn.TransformerEncoderLayer(
        12, HEADS, 12, dropout=0.0, activation=layer.feed_forward[1], layer_norm_eps=1e-6, batch_first=True
    ).double()
    weights = {
        "in_proj_weight": torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]),
        "in_proj_bias": torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]),
    }
    with torch.no_grad():
        for name, value in weights.items():
            getattr(other.self_attn, name).copy_(value)
    other.self_attn.out_proj.load_state_dict(layer.output.state_dict())
    other.linear1.load_state_dict(layer.feed_forward[0].state_dict())
    other.linear2.load_state_dict(layer.feed_forward[2].state_dict())
    hidden = torch.randn(2, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(layer(hidden), other(hidden))


def test_redimnet_makes_frequencies_into_channels_and_loses_nothing():
    """With a stride of 2 over 6 frequencies of 4 channels a map has 3 of 8: each pair, side by side."""
    signal = torch.randn(2, 7, 6 * 4)
    maps = Stage(torch.nn.Identity(), torch.nn.Identity(), rows=6)
    torch.testing.assert_close(maps(signal), signal)
    image = signal.unflatten(2, (6, 4)).permute(0, 3, 1, 2)
    assert image.permute(0, 2, 3, 1).is_contiguous()
    pairs = torch.nn.Conv2d(4, 8, (1, 2), (1, 2), bias=False)
    with torch.no_grad():
        pairs.weight.copy_(torch.eye(8).view(8, 2, 4).transpose(1, 2).unsqueeze(2))
    torch.testing.assert_close(Stage(pairs, torch.nn.Identity(), rows=6)(signal), signal)


def test_redimnet_weighs_signals_unit_by_unit():
    signals = [torch.randn(2, 5, 3) for _ in range(4)]
    torch.testing.assert_close(weighted_sum(signals, torch.zeros(4, 3)), sum(signals) / 4)
    weights = torch.full((4, 3), -100.0)
    weights[1, 0] = weights[2, 1] = weights[3, 2] = 100.0
    expected = torch.stack([signals[unit + 1][:, :, unit] for unit in range(3)], dim=2)
    torch.testing.assert_close(weighted_sum(signals, weights), expected)


def test_dense_layer_keeps_its_input_and_adds_what_it_computes():
    layer = DenseLayer(5, 3, 4, dilation=3).double().eval()
    image = torch.randn(2, 5, 1, 15, dtype=torch.float64)
    output = layer(image)
    hidden = torch.relu(image[:, :, 0] / math.sqrt(1 + 1e-5))
    hidden = torch.einsum("oi,bit->bot", layer.layers[2].weight[:, :, 0, 0], hidden)
    hidden = torch.relu(hidden / math.sqrt(1 + 1e-5))
    padded = torch.nn.functional.pad(hidden, (3, 3))
    taps = [padded[:, :, 3 * tap : 3 * tap + 15] for tap in range(3)]
    added = sum(
        torch.einsum("oi,bit->bot", layer.layers[5].weight[:, :, 0, tap], taps[tap]) for tap in range(3)
    )
    torch.testing.assert_close(output[:, :, 0], torch.cat([image[:, :, 0], added], 1))


def test_relative_attention_is_its_formula_score_by_score():
    attention = RelativeAttention(8, 2).double()
    hidden = torch.randn(1, 5, 8, dtype=torch.float64)
    rates = 10000.0 ** -(torch.arange(0, 8, 2).double() / 8)

    def position(distance):
        angles = distance * rates
        return torch.stack([angles.sin(), angles.cos()], 1).flatten()

    expected = torch.zeros(5, 8, dtype=torch.float64)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        query, key, value = (
            layer(hidden)[0, :, part] for layer in (attention.query, attention.key, attention.value)
        )
        u, v = attention.content_bias[head, 0], attention.position_bias[head, 0]
        for i in range(5):
            scores = [
                (query[i] + u) @ key[j] + (query[i] + v) @ attention.position(position(i - j))[part]
                for j in range(5)
            ]
            expected[i, part] = (torch.stack(scores) / 2).softmax(0) @ value
    positions = relative_positions(hidden.float()).double()
    found = attention(hidden, positions)[0]
    torch.testing.assert_close(found, attention.output(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("arch", "layer", "reach"),
    [
        ("dtdnn", 0, 2),
        ("dtdnn", 1, 2 + 2),  # a dense block of two layers, each a frame to either side
        ("dtdnn", 2, 2 + 2 + 3 * 3),  # of three, each three frames
        ("ecapa", 0, 2),
    ],
)
def test_padded_layers_see_as_many_frames_as_their_kernels(arch, layer, reach):
    model = build_model(SMALL[arch], FEATURES).eval()
    features = torch.randn(32, 61, FEATURES, requires_grad=True)
    output = model.frame_layers(features)[layer]
    assert output.shape[2] == 61
    (gradient,) = torch.autograd.grad(output[:, :, 30].square().sum(), features)
    (seen,) = torch.nonzero(gradient.abs().sum((0, 2)), as_tuple=True)
    assert (int(seen[0]), int(seen[-1])) == (30 - reach, 30 + reach)


@pytest.mark.parametrize("arch", ["resnet", "samresnet", "res2net", "mobilenet"])
def test_map_layers_are_frequency_means_at_the_last_maps_frames(arch):
    model = build_model(SMALL[arch], FEATURES).eval()
    features = torch.randn(2, 48, FEATURES)
    maps, layers = model.maps(features), model.frame_layers(features)
    assert isinstance(model, MapNetwork)
    assert [layer.shape[2] for layer in layers] == [6] * len(layers)
    for image, layer in zip(maps, layers, strict=False):
        expected = image.mean(3).unflatten(2, (6, -1)).mean(3)
        torch.testing.assert_close(layer, expected)
    by_frequency = layers[-1].unflatten(1, (maps[-1].shape[3], -1)).mean(1)
    torch.testing.assert_close(by_frequency, layers[-2])


@pytest.mark.parametrize("arch", ["resnet", "samresnet", "res2net", "mobilenet"])
def test_channels_of_maps_stay_innermost_in_memory(arch):
    """Otherwise training on a CPU takes twice as long."""
    for image in build_model(SMALL[arch], FEATURES).maps(torch.randn(2, 40, FEATURES)):
        assert image.permute(0, 2, 3, 1).is_contiguous()


def test_convolutions_of_a_few_channels_return_in_bfloat16():
    """torch's own never do where channels lie innermost."""
    module, frames = ConvolutionModule(8, 15), torch.randn(4, 100, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(frames)
    torch.testing.assert_close(found.float(), module(frames), atol=0.05, rtol=0.05)
