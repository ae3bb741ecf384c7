"""Layers of the architectures against their formulas, written out."""

import math

import pytest
import torch
from small_networks import FEATURES, SMALL

from spkdistill.models.build import build_model
from spkdistill.models.conformer import RelativeAttention, relative_positions
from spkdistill.models.dtdnn import DenseLayer
from spkdistill.models.ecapa import SeRes2Block
from spkdistill.models.maps import MapNetwork


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


@pytest.mark.parametrize("arch", ["resnet", "mobilenet"])
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


@pytest.mark.parametrize("arch", ["resnet", "mobilenet"])
def test_channels_of_maps_stay_innermost_in_memory(arch):
    """Otherwise training on a CPU takes twice as long."""
    for image in build_model(SMALL[arch], FEATURES).maps(torch.randn(2, 40, FEATURES)):
        assert image.permute(0, 2, 3, 1).is_contiguous()
