"""Parameters and multiply-accumulates of the architectures at their published sizes."""

import pytest
import torch

from spkdistill.distill.parts import frame_layers, lacks
from spkdistill.models.aggregators import aggregated
from spkdistill.models.build import build_model
from spkdistill.models.cost import (
    CONFORMER,
    FC8,
    PUBLISHED,
    REDIMNET,
    REDIMNET_B2,
    RES2NET,
    RESNET,
    SPAN,
    macs,
    macs_per_second,
    parameters,
    weight_bytes,
)

DEEPER = {"strides": [1, 2], "blocks": [1, 1], "expansions": [1, 1], "reductions": [12, 12]}


def published(name):
    """The network of a row of the table, of shapes alone."""
    settings, feature_dim, _ = PUBLISHED[name]
    with torch.device("meta"):
        return build_model(settings, feature_dim).eval()


@pytest.mark.parametrize(
    ("name", "narrow", "wide", "pooled"),
    [
        ("xvector", 512, 1500, 4 * 512 + 1500),  # frame4 and frame5; 3548, twice that in sp_aggr
        ("etdnn", 512, 1500, 9 * 512 + 1500),
        ("dtdnn", 256, 512, 128 + 256 + 512),  # the transit layers
        ("ecapa, 400 channels", 400, 1536, 4 * 400 + 1536),
        ("cam++", 512, 512, 128 + 256 + 2 * 512),
        ("resnet34", 256, 2560, 32 + 32 + 64 + 128 + 2560),  # 256 maps of 10 rows
        ("sam-resnet34", 512, 5120, 64 + 64 + 128 + 256 + 5120),
        ("res2net34", 512, 5120, 32 + 64 + 128 + 256 + 5120),
        ("mobilenet", 320, 960, 32 + 16 + 24 + 32 + 64 + 96 + 160 + 960),  # 320 maps of 3 rows
        ("conformer", 256, 6 * 256, 7 * 256),
        ("redimnet-b2", 1152, 1152, 7 * 1152),
    ],
)
def test_the_layers_that_targets_are_made_of(name, narrow, wide, pooled):
    network = published(name)
    dims = network.layer_dims
    assert (dims[network.NARROW_BN], dims[network.WIDE_BN]) == (narrow, wide)
    assert len(dims) - 2 <= network.NARROW_BN % len(dims) < network.WIDE_BN % len(dims) == len(dims) - 1
    assert sum(aggregated(network, dims)) == pooled


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_config_knows_how_many_frame_layers_a_network_has_and_whether_it_has_named_ones(name):
    network, settings = published(name), PUBLISHED[name][0]
    assert frame_layers(settings) == len(network.layer_dims)
    for part in ("narrow_bn", "wide_bn"):
        assert (lacks(settings, part) is None) == hasattr(network, part.upper())


@pytest.mark.parametrize(
    "varied",
    [FC8 | {"layers": 3, "embedding": 8}, CONFORMER | {"blocks": 2}, REDIMNET_B2 | DEEPER],
)
def test_a_config_knows_that_of_other_sizes_too(varied):
    with torch.device("meta"):
        network = build_model(varied, 72)
    assert frame_layers(varied) == len(network.layer_dims)


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


def test_ecapa_400_has_the_parameters_of_its_layer_table():
    tdnn = 400 * 400 + 3 * 400  # 1 x 1, bias and BN
    res2 = 7 * (50 * 50 * 3 + 3 * 50)
    squeeze = 401 * 128 + 129 * 400
    pooling = (3 * 1536 + 1) * 128 + 129 * 1536 + 2 * 3072 + 3073 * 192
    expected = 80 * 5 * 400 + 3 * 400 + 3 * (2 * tdnn + res2 + squeeze) + 1201 * 1536 + pooling
    assert parameters(published("ecapa, 400 channels")) == expected


def test_resnet152_has_the_parameters_of_its_layer_table():
    expected, inputs = 9 * 32 + 2 * 32, 32
    for width, blocks in zip((32, 64, 128, 256), (3, 8, 36, 3), strict=True):
        for block in range(blocks):
            expected += inputs * width + 9 * width**2 + 4 * width**2 + 2 * (width + width + 4 * width)
            expected += (inputs * 4 * width + 2 * 4 * width) if block == 0 else 0
            inputs = 4 * width
    assert parameters(published("resnet152")) == expected + (2 * 1024 * 10 + 1) * 256


def test_mobilenet_has_the_parameters_of_torchvisions_but_for_its_ends():
    """3,504,872 with a stem of three colours, 1,280 last channels and the classifier of 1,000."""
    stem, last, classifier = 2 * 9 * 32, 320 * 1280 + 2 * 1280, 1281 * 1000
    embedding = (2 * 320 * 3 + 1) * 192
    assert parameters(published("mobilenet")) - embedding == 3_504_872 - stem - last - classifier


@pytest.mark.parametrize(("name", "millions"), [("sam-resnet34", 25.2), ("sam-resnet100", 50.2)])
def test_sam_resnets_have_wespeakers_parameters(name, millions):
    assert round(parameters(published(name)) / 1e6, 1) == millions


@pytest.mark.parametrize("name", ["sam-resnet34", "sam-resnet50"])
def test_simam_has_no_parameters(name):
    """What a SAM-ResNet has beyond a ResNet of its width is in the attention that pools."""
    settings, feature_dim, _ = PUBLISHED[name]
    resnet = {key: value for key, value in settings.items() if key != "attention"} | {"arch": "resnet"}
    with torch.device("meta"):
        model = build_model(resnet, feature_dim)
    last = model.layer_dims[-1]
    attention = (last + 1) * 128 + 2 * 128 + 129 * last
    assert parameters(published(name)) == parameters(model) + attention


@pytest.mark.parametrize(("embedding", "millions"), [(192, 4.03), (256, 4.68)])
def test_res2net34_has_the_parameters_of_3d_speaker_and_wespeaker(embedding, millions):
    with torch.device("meta"):
        model = build_model(RES2NET | {"embedding": embedding}, 80)
    assert parameters(model) // 10_000 == round(100 * millions)


def test_camplus_has_wespeakers_parameters():
    assert round(parameters(published("cam++")) / 1e6, 2) == 7.18


def test_redimnet_b5_has_the_numbers_of_its_published_checkpoint():
    """IDRnD's b5-vox2-ft_lm.pt: 1,052 tensors of 7,709,351 numbers, 7.66 M of them parameters, not 9.2 M.

    Four tensors are not the network's: mel filters of 257 bins, the window, the pre-emphasis, and the weight
    of a single signal.
    """
    numbers = [tensor.numel() for tensor in published("redimnet-b5").state_dict().values()]
    assert len(numbers) + 4 == 1_052
    assert sum(numbers) + 257 * 72 + 400 + 2 + 1 == 7_709_351


REDIMNETS = {  # WeSpeaker's counts; the paper rounds, and has 4.7 M for B2, 3.0 M for B3, 6.3 M for B4
    1.0: {"channels": 10, "strides": [1, 2, 1, 2, 1], "blocks": [2, 3, 3, 4, 3], "kind": "resnet", "group": 1}
    | {"expansions": [1, 2, 3, 2, 1], "reductions": [30, 30, 30, 10, 10]},
    2.1: {"channels": 12, "strides": [1, 2, 3, 2, 2], "blocks": [2, 3, 4, 5, 3], "kind": "convnext"}
    | {"expansions": [1] * 5, "reductions": [0, 0, 12, 12, 8], "group": 8},
    4.9: PUBLISHED["redimnet-b2"][0],
    3.2: {"channels": 16, "blocks": [6, 6, 8, 10, 10, 8], "expansions": [4, 2, 2, 2, 1, 1]}
    | {"reductions": [32, 32, 32, 16, 16, 16], "kind": "resnet_se", "group": 1},
    6.4: PUBLISHED["redimnet-b5"][0] | {"group": 1},
    15.0: {"channels": 32, "strides": [1, 2, 1, 3, 1, 2], "blocks": [4, 6, 6, 8, 8, 8], "kind": "resnet"}
    | {"expansions": [4, 2, 2, 1, 1, 1], "reductions": [32, 32, 24, 24, 16, 16], "group": 32},
}


@pytest.mark.parametrize("millions", REDIMNETS)
def test_redimnets_b0_to_b6_have_wespeakers_parameters(millions):
    settings = REDIMNET | REDIMNETS[millions]
    with torch.device("meta"):
        model = build_model(settings, 60 if settings["channels"] == 10 else 72)
    assert round(parameters(model) / 1e6, 1) == millions


@pytest.mark.parametrize(("name", "giga"), [("redimnet-b2", 0.90), ("redimnet-b5", 8.74)])
def test_multiply_accumulates_of_redimnets(name, giga):
    """Of two seconds in frames of 15 ms. The paper has 0.90 G for B2, and 9.87 G for its B5 of 9.2 M."""
    with torch.device("meta"):
        assert macs(published(name), torch.zeros(1, 134, 72)) / 1e9 == pytest.approx(giga, rel=0.01)


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


def test_frames_twice_as_far_apart_cost_half():
    model = published("resnet18")
    with torch.device("meta"):
        once = macs(model.embed, model.frame_layers(torch.zeros(1, 1, 80))[-1])
        assert macs_per_second(model, 20) - once == (macs_per_second(model) - once) // 2


def test_bytes_are_those_of_float32_parameters_and_running_statistics():
    model = build_model({"arch": "xvector", "channels": 4, "pooling_channels": 6, "embedding": 3}, 5)
    norms = 4 * 4 + 6  # channels of the five layers, each with a mean and a variance, and a count of steps
    assert weight_bytes(model) == 4 * parameters(model) + 4 * 2 * norms + 8 * 5
