"""Heads against their formulas in float64."""

import numpy as np
import pytest
import torch

from spkdistill.errors import ConfigError
from spkdistill.models.build import build_head


def aam(scale: float = 32.0, margin: float = 0.2, size: int = 6, speakers: int = 5) -> torch.nn.Module:
    """A small AAM head in float64."""
    return build_head({"kind": "aam", "scale": scale, "margin": margin}, size, speakers).double()


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_aam_adds_the_margin_to_the_angle_of_the_label(margin):
    head = aam(margin=margin)
    embedding, labels = torch.randn(40, 6, dtype=torch.float64), torch.arange(40) % 5
    logits = head(embedding, labels).detach().numpy()
    x, w = embedding.numpy(), head.weight.detach().numpy()
    cosine = (x / np.linalg.norm(x, axis=1)[:, None]) @ (w / np.linalg.norm(w, axis=1)[:, None]).T
    expected = 32 * cosine
    for row, label in enumerate(labels.numpy()):
        theta = np.arccos(cosine[row, label])
        shifted = (
            np.cos(theta + margin) if theta < np.pi - margin else np.cos(theta) - margin * np.sin(margin)
        )
        expected[row, label] = 32 * shifted
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    np.testing.assert_allclose(head.plain(embedding).detach().numpy(), 32 * cosine)


def test_aam_logit_of_the_label_decreases_up_to_the_opposite_of_its_class():
    head = aam(margin=0.5, size=2, speakers=1)
    theta = torch.linspace(0, torch.pi, 2000, dtype=torch.float64)
    direction = torch.nn.functional.normalize(head.weight)[0]
    across = torch.stack([-direction[1], direction[0]])
    embedding = theta.cos().unsqueeze(1) * direction + theta.sin().unsqueeze(1) * across
    logits = head(embedding, torch.zeros(2000, dtype=torch.int64))[:, 0].detach()
    fallen = logits.diff()
    jump = int((theta < torch.pi - 0.5).sum()) - 1
    assert (fallen[:jump] < 0).all()
    assert (fallen[jump + 1 :] < 0).all()


def test_aam_gradient_is_that_of_its_formula():
    head = aam()
    embedding = torch.randn(8, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: head(x, torch.arange(8) % 5), (embedding,))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_aam_gradient_is_finite_where_an_embedding_lies_on_its_class(sign):
    head = build_head({"kind": "aam", "scale": 32.0, "margin": 0.2}, 6, 5)
    embedding = (sign * head.weight.detach()).requires_grad_()
    head(embedding, torch.arange(5)).sum().backward()
    assert embedding.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()


def test_softmax_head_is_the_rest_of_kaldis_network():
    head = build_head({"kind": "softmax", "hidden": 7}, 6, 5).double().eval()
    for norm in (head.segment6_norm, head.segment7_norm):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    embedding = torch.randn(3, 6, dtype=torch.float64)

    def normalised(x, norm):
        return (x.clamp(min=0) - norm.running_mean) / (norm.running_var + 1e-3).sqrt()

    hidden = normalised(embedding, head.segment6_norm) @ head.segment7.weight.T + head.segment7.bias
    expected = normalised(hidden, head.segment7_norm) @ head.output.weight.T + head.output.bias
    torch.testing.assert_close(head.plain(embedding), expected)
    torch.testing.assert_close(head(embedding, torch.zeros(3, dtype=torch.int64)), expected)


@pytest.mark.parametrize(
    "settings", [{"kind": "aam", "scale": 30.0, "margin": 0.2}, {"kind": "softmax", "hidden": 7}]
)
def test_logits_are_float32_under_bfloat16_autocast(settings):
    head = build_head(settings, 6, 5).eval()
    embedding = torch.randn(3, 6)
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(embedding, torch.arange(3))
    assert torch.equal(logits, head(embedding, torch.arange(3)))


def test_unknown_head_names_the_choices():
    with pytest.raises(ConfigError, match=r"head\.kind: 'arc' is not known; choose from softmax, aam"):
        build_head({"kind": "arc"}, 6, 5)
