"""Checkpoints: all that a training needs to go on to the same bytes as if it had not stopped.

`checkpoint-<step>.safetensors` has the tensors, `checkpoint-<step>.json` beside it the rest and a hash of
them; the JSON is written last. The two newest are kept, so that a damaged one leaves another. Random numbers
need no state: they come from the seed and the step.
"""

import hashlib
import json
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor, nn

from spkdistill.codehash import code_hash
from spkdistill.errors import DataError
from spkdistill.files import read_json, replacing, write_json

KEPT = 2


def identity(settings: Any, inputs: Iterable[str | Path], code: str) -> str:
    """A hash of what makes a training what it is: settings, files that it reads, and the module `code`.

    An index (scp) stays the same when the arks behind it change, so a file's time of change counts too.
    """
    digest = hashlib.blake2b(json.dumps([settings, code_hash(code)], sort_keys=True).encode(), digest_size=16)
    for path in map(Path, inputs):
        try:
            digest.update(f"{path}\0{path.stat().st_mtime_ns}\0".encode() + path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
    return digest.hexdigest()


def save(
    work: str | Path, identity: str, step: int, state: dict[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Write the checkpoint of `step`, then remove all but the newest two."""
    data = serialise({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    path = Path(work) / f"checkpoint-{step:09d}.json"
    with replacing(path.with_suffix(".safetensors"), "wb") as file:
        file.write(data)
    write_json(path, {"identity": identity, "step": step, "state": state, "tensors": fingerprint(data)})
    for old in newest_first(work)[KEPT:]:
        remove(old)


def load(work: str | Path, identity: str) -> tuple[int, dict[str, Any], dict[str, Tensor]] | None:
    """(step, state, tensors) of the newest whole checkpoint of this identity; None starts anew.

    A line on stderr says which checkpoint is used and why others are not; those are removed.
    """
    for path in newest_first(work):
        try:
            record = read_json(path)
            if record["identity"] != identity:
                raise DataError(f"{path}: made with other settings, inputs or code")
            data = path.with_suffix(".safetensors").read_bytes()
            if fingerprint(data) != record["tensors"]:
                raise DataError(f"{path.with_suffix('.safetensors')}: damaged")
            print(f"{path}: going on from step {record['step']}", file=sys.stderr)
            return record["step"], record["state"], deserialise(data)
        except (DataError, OSError, SafetensorError, KeyError, TypeError) as error:
            print(f"{error or path}; the checkpoint is not used", file=sys.stderr)
            remove(path)
    print(f"{work}: no checkpoint to go on from, starting anew", file=sys.stderr)
    return None


def clear(work: str | Path) -> None:
    """Remove every checkpoint, also what a killed process left of one, and then the folder if it is empty."""
    for path in [*Path(work).glob("checkpoint-*"), *Path(work).glob(".checkpoint-*.tmp.*")]:
        path.unlink(missing_ok=True)
    with suppress(OSError):
        Path(work).rmdir()


def pack(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of a module and of its optimiser, by name."""
    tensors = {f"module/{name}": tensor for name, tensor in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value for name, value in state.items() if value is not None}
    return tensors


def unpack(tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put what `pack` gave back into a module and an optimiser that are built the same way."""
    weights, states = {}, {}
    for key, tensor in tensors.items():
        kind, name = key.split("/", 1)
        if kind == "module":
            weights[name] = tensor
        else:
            index, name = name.split("/")
            states.setdefault(int(index), {})[name] = tensor
    module.load_state_dict(weights)
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def newest_first(work: str | Path) -> list[Path]:
    """The checkpoints' JSON files."""
    return sorted(Path(work).glob("checkpoint-*.json"), reverse=True)


def remove(path: Path) -> None:
    """Remove a checkpoint, the JSON first: without it there is none."""
    path.unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)


def fingerprint(data: bytes) -> str:
    """A hash of a file's bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
