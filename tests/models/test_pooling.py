"""Pooling against float64 closed forms and naive loops."""

import numpy as np
import pytest
import torch

from spkdistill.models.pooling import (
    AttentiveStatistics,
    DictionaryEncoding,
    LocalAttentiveStatistics,
    Moments,
    statistics,
)


def test_statistics_are_mean_and_biased_standard_deviation():
    frames = torch.randn(3, 5, 17, dtype=torch.float64) * 3 + 1
    expected = torch.cat([frames.mean(2), frames.std(2, correction=0)], 1)
    torch.testing.assert_close(statistics(frames), expected)


def test_standard_deviation_of_constant_frames_is_kaldis_floor():
    assert torch.equal(statistics(torch.zeros(1, 2, 9))[:, 2:], torch.full((1, 2), 1e-10).sqrt())


def test_gradient_of_the_moments_is_exact():
    frames = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Moments.apply, (frames,))
    assert torch.autograd.gradcheck(statistics, (frames,))


def test_attentive_statistics_are_their_formula_frame_by_frame():
    pooling = AttentiveStatistics(3, 4).double()
    frames = torch.randn(1, 3, 7, dtype=torch.float64)
    h = frames[0].numpy()
    w, b, v, k = (parameter.detach().numpy() for parameter in pooling.parameters())
    context = np.concatenate([h.mean(1), h.std(1)])
    scores = np.stack([v @ np.tanh(w @ np.concatenate([h[:, t], context]) + b) + k for t in range(7)], 1)
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    mean = (weights * h).sum(1)
    std = np.sqrt((weights * (h - mean[:, None]) ** 2).sum(1))
    np.testing.assert_allclose(pooling(frames)[0].detach(), np.concatenate([mean, std]))


def test_local_attentive_statistics_are_their_formula_frame_by_frame():
    pooling = LocalAttentiveStatistics(3, 4).double().eval()
    pooling.norm.running_mean.uniform_(-1, 1)
    pooling.norm.running_var.uniform_(0.5, 2)
    frames = torch.randn(1, 3, 7, dtype=torch.float64)
    h = frames[0].numpy()
    w, b, _, _, v, k = (parameter.detach().numpy() for parameter in pooling.parameters())
    mean, variance = pooling.norm.running_mean.numpy(), pooling.norm.running_var.numpy()
    scores = np.stack(
        [v @ ((np.maximum(w @ h[:, t] + b, 0) - mean) / np.sqrt(variance + 1e-5)) + k for t in range(7)], 1
    )
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    mean = (weights * h).sum(1)
    std = np.sqrt((weights * (h - mean[:, None]) ** 2).sum(1))
    np.testing.assert_allclose(pooling(frames)[0].detach(), np.concatenate([mean, std]))


def test_statistics_of_bfloat16_frames_are_accumulated_in_float32():
    frames = (torch.randn(2, 3, 4000) + 3).bfloat16()
    pooled = statistics(frames)
    expected = statistics(frames.double())
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled.double(), expected, atol=1e-4, rtol=1e-5)


def naive_encoding(encoding: DictionaryEncoding, frames: torch.Tensor) -> torch.Tensor:
    """e_c of one utterance, frames (frames, D), by the definition."""
    scales = encoding.a**2 + 1e-8
    weights = []
    for x in frames:
        distances = torch.stack([((x - mu) ** 2).sum() for mu in encoding.mu])
        weights.append(torch.softmax(-scales * distances, 0))
    rows = []
    for c, mu in enumerate(encoding.mu):
        total = sum(w[c] for w in weights)
        rows.append(sum(w[c] * (x - mu) for w, x in zip(weights, frames, strict=True)) / total)
    return torch.cat(rows)


def test_dictionary_encoding_equals_its_definition():
    encoding = DictionaryEncoding([3, 4], 5).double()
    torch.nn.init.uniform_(encoding.a, 0.3, 1.5)
    layers = [torch.randn(2, 3, 11, dtype=torch.float64), torch.randn(2, 4, 11, dtype=torch.float64)]
    frames = torch.cat(layers, 1).transpose(1, 2)
    expected = torch.stack([naive_encoding(encoding, utterance) for utterance in frames])
    torch.testing.assert_close(encoding(layers), expected)


def test_dictionary_encoding_has_finite_gradients_for_a_component_far_from_every_frame():
    encoding = DictionaryEncoding([6], 3)
    with torch.no_grad():
        encoding.a.fill_(30.0)
        encoding.mu[1] += 1000
    encoded = encoding([torch.randn(2, 6, 9)])
    encoded.sum().backward()
    assert encoded.isfinite().all()
    assert encoding.mu.grad.isfinite().all()
    assert encoding.a.grad.isfinite().all()


def test_wide_frames_do_not_saturate_the_weights_at_the_start():
    encoding = DictionaryEncoding([1800, 1500], 16)
    layers = [torch.randn(2, 1800, 20), torch.randn(2, 1500, 20)]
    weights = (-encoding.scales() * encoding.distances(layers)).softmax(1)
    assert weights.max() < 0.5


def test_dictionary_starts_at_the_centres_of_clusters():
    centres = torch.tensor([[5.0, 0, 0], [0, 5, 0], [0, 0, 5]])
    noise = torch.randn(100, 3, 3) * 0.1
    frames = (centres + noise).flatten(0, 1)[torch.randperm(300)]
    encoding = DictionaryEncoding([3], 12)
    encoding.initialise([frames.T.unsqueeze(0)])
    nearest = torch.cdist(encoding.mu.detach(), centres).min(1).values
    covered = torch.cdist(centres, encoding.mu.detach()).min(1).values
    assert nearest.max() < 0.5
    assert covered.max() < 0.5


@pytest.mark.parametrize("components", [1, 4])
def test_dictionary_encoding_has_one_row_of_the_frame_size_per_component(components):
    assert DictionaryEncoding([3, 4], components)([torch.randn(2, 3, 5), torch.randn(2, 4, 5)]).shape == (
        2,
        components * 7,
    )
