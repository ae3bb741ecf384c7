"""Networks and heads by the names they have in a config."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from torch import nn

from spkdistill.errors import ConfigError
from spkdistill.models.camplus import Camplus, CamplusSettings
from spkdistill.models.conformer import Conformer, ConformerSettings
from spkdistill.models.dtdnn import Dtdnn, DtdnnSettings
from spkdistill.models.ecapa import Ecapa, EcapaSettings
from spkdistill.models.etdnn import Etdnn
from spkdistill.models.fc8 import Fc8, Fc8Settings
from spkdistill.models.heads import AamHead, AamSettings, SoftmaxHead, SoftmaxSettings
from spkdistill.models.mobilenet import Mobilenet, MobilenetSettings
from spkdistill.models.redimnet import Redimnet, RedimnetSettings
from spkdistill.models.res2net import Res2net, Res2netSettings
from spkdistill.models.resnet import Resnet, ResnetSettings
from spkdistill.models.samresnet import Samresnet, SamresnetSettings
from spkdistill.models.sizes import misfit
from spkdistill.models.xvector import Xvector, XvectorSettings
from spkdistill.settings import build

ARCHITECTURES = {
    "xvector": (Xvector, XvectorSettings),
    "etdnn": (Etdnn, XvectorSettings),
    "dtdnn": (Dtdnn, DtdnnSettings),
    "camplus": (Camplus, CamplusSettings),
    "ecapa": (Ecapa, EcapaSettings),
    "resnet": (Resnet, ResnetSettings),
    "samresnet": (Samresnet, SamresnetSettings),
    "res2net": (Res2net, Res2netSettings),
    "redimnet": (Redimnet, RedimnetSettings),
    "conformer": (Conformer, ConformerSettings),
    "mobilenet": (Mobilenet, MobilenetSettings),
    "fc8": (Fc8, Fc8Settings),
}
HEADS = {"softmax": (SoftmaxHead, SoftmaxSettings), "aam": (AamHead, AamSettings)}
WIDEST = 2**24  # size of a layer; more is a mistake, and torch cannot count its parameters
DEEPEST = 200  # modules, each of which takes time to build
COUNTS = ("layers", "blocks", "scale")  # settings that are numbers of modules
OPTIONAL = ("reductions",)  # settings where 0 stands for none

Settings = TypeVar("Settings")


def build_model(settings: Mapping[str, Any], feature_dim: int) -> nn.Module:
    """The network of a config's `model:` mapping: `arch` and the settings of that architecture."""
    module, options = chosen(ARCHITECTURES, settings, "arch", "model")
    if fault := misfit(settings, feature_dim):
        raise ConfigError(f"model.{fault}")
    try:
        return module(options, feature_dim)
    except RuntimeError as error:  # of more numbers than memory, or a 64-bit integer, holds
        raise ConfigError(f"model: torch cannot build a network of these sizes: {error}") from None


def build_head(settings: Mapping[str, Any], embedding_dim: int, num_speakers: int) -> nn.Module:
    """The head of a config's `head:` mapping: `kind` and the settings of that kind."""
    module, options = chosen(HEADS, settings, "kind", "head")
    return module(options, embedding_dim, num_speakers)


def chosen(table: dict, settings: Mapping[str, Any], key: str, where: str) -> tuple[type[nn.Module], Any]:
    """The class that `settings[key]` names, and its settings dataclass built from the other keys."""
    if not isinstance(settings, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, found {settings!r}")
    name = settings.get(key)
    if not isinstance(name, str) or name not in table:
        raise ConfigError(f"{where}.{key}: {name!r} is not known; choose from {', '.join(table)}")
    module, kind = table[name]
    return module, build_sizes(kind, {k: value for k, value in settings.items() if k != key}, where)


def build_sizes(kind: type[Settings], mapping: Mapping[str, Any], where: str) -> Settings:
    """As `build`, for settings whose integers are all sizes, from 1 to WIDEST or (in all) DEEPEST."""
    settings = build(kind, mapping, where)
    for field in fields(settings):
        value = getattr(settings, field.name)
        most = DEEPEST if field.name in COUNTS else WIDEST
        least = 0 if field.name in OPTIONAL else 1
        sizes = value if isinstance(value, tuple) else (value,)
        for size in sizes:
            if isinstance(size, int) and not isinstance(size, bool) and not least <= size <= most:
                raise ConfigError(f"{where}.{field.name}: expected {least} to {most}, found {size}")
        if isinstance(value, tuple) and not (all(type(size) is int for size in sizes) and sum(sizes) <= most):
            expected = f"whole numbers that add up to {most} or less"
            raise ConfigError(f"{where}.{field.name}: expected {expected}, found {list(sizes)}")
    return settings
