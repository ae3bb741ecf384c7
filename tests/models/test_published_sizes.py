"""Parameters and multiply-accumulates of the architectures at their published sizes."""

import pytest
import torch

from spkdistill.models.build import build_model
from spkdistill.models.cost import PUBLISHED, RESNET, SPAN, macs, macs_per_second, parameters, weight_bytes


def published(name):
    """The network of a row of the table, of shapes alone."""
    settings, feature_dim, _ = PUBLISHED[name]
    with torch.device("meta"):
        return build_model(settings, feature_dim).eval()


def test_etdnn_has_the_6_057_436_parameters_of_its_layer_table():
    assert parameters(published("etdnn")) == 6_057_436


def test_dtdnn_has_the_2_822_272_parameters_of_its_layer_table():
    assert parameters(published("dtdnn")) == 2_822_272


@pytest.mark.parametrize(("channels", "millions"), [(512, 6.2), (1024, 14.7)])
def test_ecapa_has_the_papers_parameters(channels, millions):
    assert round(parameters(published(f"ecapa, {channels} channels")) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("blocks", "bottleneck", "millions"),
    [([3, 4, 6, 3], False, 6.63), ([6, 16, 48, 3], True, 23.79), ([10, 20, 64, 3], True, 28.62)],
)
def test_resnets_34_221_and_293_have_wespeakers_parameters(blocks, bottleneck, millions):
    with torch.device("meta"):
        model = build_model(RESNET | {"blocks": blocks, "bottleneck": bottleneck}, 80)
    assert parameters(model) // 10_000 == round(100 * millions)


def test_conformer_has_the_parameters_of_its_layer_table():
    """19.8 M: subsampling, six blocks, norm, attentive pooling, BN, affine."""
    feed_forward = 2 * 256 * 2048 + 2048 + 256
    attention = 4 * (256 + 1) * 256 + 256 * 256 + 2 * 256
    convolution = (256 + 1) * 512 + (15 + 1) * 256 + 2 * 256 + (256 + 1) * 256
    block = 2 * feed_forward + attention + convolution + 5 * 2 * 256
    subsampling = 10 * 256 + (39 * 256 + 1) * 256
    pooling = (3 * 1536 + 1) * 128 + (128 + 1) * 1536
    expected = subsampling + 6 * block + 2 * 1536 + pooling + 2 * 3072 + (3072 + 1) * 192
    assert parameters(published("conformer")) == expected


@pytest.mark.parametrize(
    ("name", "giga"),
    [("ecapa, 512 channels", 1.04), ("ecapa, 1024 channels", 2.65), ("resnet34", 4.55)],
)
def test_multiply_accumulates_of_200_frames_are_near_wespeakers(name, giga):
    """WeSpeaker counts batch normalisation too, and computes ECAPA's context again at each frame."""
    with torch.device("meta"):
        count = macs(published(name), torch.zeros(1, 200, 80))
    context = 200 * 2 * 1536 * 128 if name.startswith("ecapa") else 0
    assert (count + context) / 1e9 == pytest.approx(giga, rel=0.01)


def test_attention_counts_as_in_an_utterance_of_four_seconds():
    model = published("conformer")
    with torch.device("meta"):
        whole = macs(model, torch.zeros(1, 100 * SPAN, 80))
        assert macs_per_second(model) == pytest.approx(whole / SPAN, rel=0.02)
        short = macs(model, torch.zeros(1, 100, 80))
    assert whole > 1.05 * SPAN * short


def test_strides_do_not_change_what_a_second_costs():
    """The stem runs at every frame, the last stage at every eighth: 100 frames are not 13 of these."""
    model = published("resnet18")
    with torch.device("meta"):
        eight_seconds = macs(model, torch.zeros(1, 800, 80))
        assert macs_per_second(model) == pytest.approx(eight_seconds / 8, rel=0.002)


def test_bytes_are_those_of_float32_parameters_and_running_statistics():
    model = build_model({"arch": "xvector", "channels": 4, "pooling_channels": 6, "embedding": 3}, 5)
    norms = 4 * 4 + 6  # channels of the five layers, each with a mean and a variance, and a count of steps
    assert weight_bytes(model) == 4 * parameters(model) + 4 * 2 * norms + 8 * 5
