"""Aggregated embeddings: which frames and which statistics they are made of."""

import torch

from spkdistill.models.aggregators import AggregatorSettings, LdeAggregator, SpAggregator, aligned
from spkdistill.models.build import build_model


def test_statistics_aggregator_pools_7096_numbers_at_full_width():
    model = build_model({"arch": "xvector", "channels": 512, "pooling_channels": 1500, "embedding": 512}, 30)
    aggregator = SpAggregator(AggregatorSettings(512, 32), model.layer_dims)
    assert aggregator.output.in_features == 7096
    assert aggregator(model.eval().frame_layers(torch.randn(2, 20, 30))).shape == (2, 512)


def test_statistics_aggregator_is_affine_in_mean_and_std_of_the_concatenated_frames():
    layers = [torch.randn(2, 3, 11), torch.randn(2, 4, 7), torch.randn(2, 5, 7)]
    aggregator = SpAggregator(AggregatorSettings(6, 2), [3, 4, 5])
    frames = torch.cat([layers[0][:, :, 2:9], layers[1], layers[2]], 1)
    pooled = torch.cat([frames.mean(2), frames.std(2, correction=0)], 1)
    torch.testing.assert_close(
        aggregator(layers), pooled @ aggregator.output.weight.T + aggregator.output.bias
    )


def test_layers_are_aligned_on_the_same_centre_frames():
    """Layers whose values are the input frames that they are centred on."""
    times = torch.arange(40.0).view(1, 1, 40)
    layers = [times[:, :, 2:38], times[:, :, 4:36], times[:, :, 7:33], times[:, :, 7:33]]
    assert all(torch.equal(layer, layers[-1]) for layer in aligned(layers))


def test_dictionary_aggregator_starts_from_frames_and_trains():
    layers = [torch.randn(4, 3, 19).bfloat16(), torch.randn(4, 5, 15).bfloat16()]
    aggregator = LdeAggregator(AggregatorSettings(6, 3), [3, 5])
    aggregator.initialise(layers)
    with torch.autocast("cpu", torch.bfloat16):
        embedding = aggregator(layers)
    embedding.square().sum().backward()
    assert embedding.dtype == torch.float32
    assert embedding.shape == (4, 6)
    assert all(parameter.grad.abs().sum() > 0 for parameter in aggregator.parameters())


def test_dictionary_aggregator_trains_on_wide_frames():
    """1,800 values a frame: losses fall, and frames go on choosing between components."""
    dims, speakers = [800, 1000], torch.arange(8).repeat(4)
    of_speaker = [torch.randn(8, dim, 1)[speakers] for dim in dims]
    layers = [mean + torch.randn(len(speakers), mean.shape[1], 30) for mean in of_speaker]
    aggregator, head = LdeAggregator(AggregatorSettings(16, 4), dims), torch.nn.Linear(16, 8)
    aggregator.initialise(layers)
    optimizer = torch.optim.AdamW([*aggregator.parameters(), *head.parameters()], lr=1e-3)
    losses = []
    for _ in range(20):
        with torch.autocast("cpu", torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(head(aggregator(layers)), speakers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert max(losses[-5:]) < 0.2 * losses[0]
    weights = (-aggregator.pooling.scales() * aggregator.pooling.distances(layers)).softmax(1)
    assert weights.amax(1).mean() < 0.95
