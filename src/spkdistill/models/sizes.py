"""Which sizes of a network fit together and to its features; without torch, which planning does not need."""

import math
from collections.abc import Mapping
from itertools import accumulate
from operator import mul
from typing import Any

REDIMNET_HEADS = 4
NARROWEST = 20  # hidden units of ReDimNet's 1-D blocks, those of the published B0


def misfit(model: Mapping[str, Any], feature_dim: int) -> str | None:
    """Why a network of settings, each sound alone, cannot be built for such features; None if it can."""
    if model["arch"] in ("ecapa", "res2net"):
        return no_multiple(model["channels"], model["scale"], f"model.scale {model['scale']}")
    if model["arch"] == "conformer":
        return misfit_of_conformer(model, feature_dim)
    return misfit_of_redimnet(model, feature_dim) if model["arch"] == "redimnet" else None


def misfit_of_conformer(model: Mapping[str, Any], feature_dim: int) -> str | None:
    """That of channels and heads, the kernel, the features and their subsampling."""
    heads, kernel, rate = model["heads"], model["kernel"], model["subsampling"]
    if fault := no_multiple(model["channels"], 2 * heads, f"twice model.heads {heads}"):
        return fault
    if kernel % 2 == 0:
        return f"kernel: expected an odd number of frames, found {kernel}; say {kernel + 1}"
    if feature_dim < 2 * rate - 1:
        return f"subsampling: {rate} leaves nothing of {feature_dim} features; give {2 * rate - 1} or more"
    return None


def misfit_of_redimnet(model: Mapping[str, Any], feature_dim: int) -> str | None:
    """That of the lists by stage, the features and the strides, the 1-D blocks, the groups of channels."""
    keys = ("strides", "blocks", "expansions", "reductions")
    counts = [len(model[key]) for key in keys]
    if len(set(counts)) > 1 or not counts[0]:
        found = ", ".join(map(str, counts))
        return f"{', '.join(keys)}: expected as many numbers each, found {found}; give each stage one of each"
    product = math.prod(model["strides"])
    if feature_dim % product:
        return (
            f"strides: their product does not divide the {feature_dim} features; choose others, or a "
            f"multiple of {product} features (published: 72, of fbank `num_mel_bins: 72, use_energy: false`)"
        )
    for reduction in filter(None, model["reductions"]):
        hidden = model["channels"] * feature_dim // reduction
        if hidden < NARROWEST or hidden % REDIMNET_HEADS:
            expected = f"a multiple of {REDIMNET_HEADS} from {NARROWEST} on"
            return (
                f"reductions: {reduction} leaves {hidden} units of channels times {feature_dim} features, "
                f"expected {expected}; choose another, or 0"
            )
    widths = [model["channels"] * stride for stride in accumulate(model["strides"], mul)]
    for width, expansion in zip(widths, model["expansions"], strict=True):
        for channels in (width * expansion, width):
            if channels % max(1, channels // model["group"]):
                divisor = math.gcd(model["group"], channels)
                return (
                    f"group: {model['group']} does not divide {channels} channels of a stage; say {divisor}"
                )
    return None


def no_multiple(channels: int, unit: int, of: str) -> str | None:
    """What to say of channels that are no multiple of a unit; None if they are."""
    if channels % unit == 0:
        return None
    return f"channels: {channels} is no multiple of {of}; the next is {-(-channels // unit) * unit}"
