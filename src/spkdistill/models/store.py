"""Trained networks on disk: weights in safetensors, all else in a config.json beside them; no pickle."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import Tensor, nn

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_json, replacing, write_json
from spkdistill.manifest import made_by
from spkdistill.models.aggregators import AggregatorSettings, build_aggregators
from spkdistill.models.build import build_head, build_model, build_sizes
from spkdistill.models.shapes import shapes_only

FOREIGN = "foreign"  # in place of an architecture: a file of another toolkit, see foreign.py


@dataclass(frozen=True)
class NetworkConfig:
    """What a config.json must have for the network to be built; `head` is None where there is none."""

    model: dict
    feature_dim: int
    head: dict | None
    speakers: list


def save(
    model_path: str | Path,
    config_path: str | Path,
    model: nn.Module,
    head: nn.Module | None,
    config: dict[str, Any],
) -> None:
    """Write a network and its head, the config last.

    `config` has `model` and `head` (settings as `build_model` and `build_head` take them; `head` None where
    there is none), `feature_dim`, `speakers` (the head's classes in order) and what else is worth keeping:
    the features' settings, how it was trained.
    """
    write_weights(model_path, with_head(model, head))
    write_json(config_path, {**config, "made_by": made_by()})


def load(
    model_path: str | Path, config_path: str | Path
) -> tuple[nn.Module, nn.Module | None, dict[str, Any]]:
    """(model, head or None, config) as `save` wrote them, in eval mode; DataError where files disagree."""
    config, network = read_network_config(config_path)
    with blaming(config_path), shapes_only():  # nothing is allocated before they match
        model, head = build_model(network.model, network.feature_dim), None
        if network.head is not None:
            head = build_head(network.head, model.embedding_dim, len(network.speakers))
    read_weights(model_path, config_path, with_head(model, head))
    return model.eval(), head.eval() if head else None, config


def save_aggregators(
    model_path: str | Path, config_path: str | Path, aggregators: nn.ModuleDict, config: dict[str, Any]
) -> None:
    """Write a teacher's aggregators; `config` has their settings as `aggregators`."""
    write_weights(model_path, aggregators)
    write_json(config_path, {**config, "made_by": made_by()})


def load_aggregators(model_path: str | Path, config_path: str | Path, layer_dims: list[int]) -> nn.ModuleDict:
    """What `save_aggregators` wrote for a teacher of `layer_dims`, by target, in eval mode."""
    config = read_config(config_path, ["aggregators"])
    with blaming(config_path), shapes_only():
        settings = build_sizes(AggregatorSettings, config["aggregators"], "aggregators")
        aggregators = build_aggregators(settings, layer_dims)
    read_weights(model_path, config_path, aggregators)
    return aggregators.eval()


def with_head(model: nn.Module, head: nn.Module | None) -> nn.ModuleDict:
    """Model and head as one module, whose names are those in the file: `model.` and `head.`."""
    return nn.ModuleDict({"model": model} | ({"head": head} if head else {}))


def read_network_config(path: str | Path) -> tuple[dict[str, Any], NetworkConfig]:
    """The whole of a network's config.json, and what builds the network."""
    keys = list(NetworkConfig.__dataclass_fields__)
    config = read_config(path, keys)
    with blaming(path):
        return config, build_sizes(NetworkConfig, {key: config[key] for key in keys}, "config")


def is_foreign(network: NetworkConfig) -> bool:
    """Whether a network is not one that `load` can build."""
    return network.model.get("arch") == FOREIGN


@contextmanager
def blaming(path: str | Path) -> Iterator[None]:
    """Wrong settings as a DataError that names the file they are in."""
    try:
        yield
    except ConfigError as error:
        raise DataError(f"{path}: {error}") from None


def read_config(path: str | Path, keys: Iterable[str]) -> dict[str, Any]:
    """A config.json that has `keys`."""
    config = read_json(path)
    missing = [key for key in keys if not isinstance(config, dict) or key not in config]
    if missing:
        raise DataError(f"{path}: no {missing[0]!r} in it; this is not the config of a trained network")
    return config


def write_weights(path: str | Path, module: nn.Module, metadata: dict[str, str] | None = None) -> None:
    """Write a module's parameters and buffers atomically."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    with replacing(path, "wb") as file:
        file.write(serialise(weights, metadata))


def read_weights(path: str | Path, config_path: str | Path, module: nn.Module) -> None:
    """Give `module` the tensors in `path`, whose names and shapes must be exactly its own."""
    try:
        with safe_open(path, "pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            check_shapes(path, config_path, module, found)
            weights = {name: file.get_tensor(name) for name in module.state_dict()}
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error}); make it again") from None
    for name, tensor in weights.items():
        check_values(f"{path}:{name}", tensor, module.state_dict()[name])
    module.load_state_dict(weights, assign=True)


def check_shapes(
    path: str | Path, config_path: str | Path, module: nn.Module, found: dict[str, list[int]]
) -> None:
    """DataError unless the tensors found in a file are those of `module`."""
    expected = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise DataError(
                f"{path}:{name}: {config_path} makes it {expected.get(name, 'absent')}, "
                f"this file {found.get(name, 'absent')}; they do not belong together"
            )


def check_values(where: str, tensor: Tensor, expected: Tensor) -> None:
    """DataError unless a tensor has the expected type and is finite."""
    if tensor.dtype != expected.dtype:
        raise DataError(f"{where}: expected {expected.dtype}, found {tensor.dtype}")
    if not tensor.isfinite().all():
        raise DataError(f"{where}: not finite; the training diverged")
