"""Checkpoints: all that a training needs to go on to the same bytes as if it had not stopped.

`checkpoint-<step>.safetensors` has the tensors, `checkpoint-<step>.json` beside it the rest, a hash of the
tensors and one of itself; the JSON is written last. The two newest are kept, so that a damaged one leaves
another. Random numbers need no state: they come from the seed and the step.
"""

import fcntl
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor, nn

from spkdistill.codehash import code_hash
from spkdistill.errors import DataError
from spkdistill.files import read_bytes, replacing, write_text

KEPT = 2
LOCK = ".lock"
RECORD = {"identity": str, "step": int, "state": dict, "tensors": str}


@contextmanager
def held(work: str | Path) -> Iterator[None]:
    """Hold the folder of checkpoints, made if need be; DataError where another training does.

    Also where nothing can be written: better to know now than after the first epoch. The lock goes with the
    process, however that ends.
    """
    try:
        Path(work).mkdir(parents=True, exist_ok=True)
        lock = open(Path(work) / LOCK, "w")  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{work}: {error.strerror}; checkpoints must be written there") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{work}: another training goes on here; wait for it, or end it") from None
        except OSError:  # a file system without locks
            pass
        yield


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
    """Write the checkpoint of `step`, then remove all but the newest two; DataError where it does not fit."""
    data = serialise({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    path = path_of(work, step)
    record = {"identity": identity, "step": step, "state": state, "tensors": fingerprint(data)}
    try:
        with replacing(path.with_suffix(".safetensors"), "wb") as file:
            file.write(data)
        write_text(path, sealed(record))
    except OSError as error:
        lost = f"the checkpoint of step {step} is not written, older ones are kept"
        raise DataError(f"{work}: {error.strerror}; {lost}; mend that and run again") from None
    for old in newest_first(work)[KEPT:]:
        remove(old)


def load(work: str | Path, identity: str) -> tuple[int, dict[str, Any], dict[str, Tensor]] | None:
    """(step, state, tensors) of the newest whole checkpoint of this identity; None starts anew.

    A line on stderr says which checkpoint is used and why others are not; those are removed, and so is what
    killed processes left half written: the folder must be held.
    """
    for path in half_written(work):
        path.unlink()
    for path in newest_first(work):
        try:
            found = read(path, identity)
            print(f"{path}: going on from step {found[0]}", file=sys.stderr)
            return found
        except DataError as error:
            print(f"{error}; the checkpoint is not used", file=sys.stderr)
            remove(path)
    print(f"{work}: no checkpoint to go on from, starting anew", file=sys.stderr)
    return None


def read(path: Path, identity: str) -> tuple[int, dict[str, Any], dict[str, Tensor]]:
    """(step, state, tensors) of the checkpoint whose JSON is `path`; DataError if damaged or not ours."""
    record, tensors = unsealed(path), path.with_suffix(".safetensors")
    if record["identity"] != identity:
        raise DataError(f"{path}: made with other settings, inputs or code")
    data = read_bytes(tensors)
    if fingerprint(data) != record["tensors"]:
        raise DataError(f"{tensors}: damaged")
    try:
        return record["step"], record["state"], deserialise(data)
    except SafetensorError as error:
        raise DataError(f"{tensors}: no tensors of a checkpoint ({error})") from None


def sealed(record: dict[str, Any]) -> str:
    """A record as the text of its JSON file, with a hash of itself."""
    seal = fingerprint(json.dumps(record, sort_keys=True).encode())
    return json.dumps({**record, "seal": seal}, indent=2, sort_keys=True, allow_nan=False) + "\n"


def unsealed(path: Path) -> dict[str, Any]:
    """The record in a JSON file; DataError where a single byte is not as `sealed` wrote it."""
    data = read_bytes(path)
    try:
        record = json.loads(data)
        del record["seal"]
        whole = sealed(record).encode() == data and all(
            isinstance(record[key], kind) for key, kind in RECORD.items()
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f"{path}: damaged")
    return record


def clear(work: str | Path) -> None:
    """Remove every checkpoint, also what a killed process left of one, and then the folder if it is empty."""
    for path in [*Path(work).glob("checkpoint-*"), *half_written(work), Path(work) / LOCK]:
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


def path_of(work: str | Path, step: int) -> Path:
    """The JSON file of a step's checkpoint."""
    return Path(work) / f"checkpoint-{step:09d}.json"


def half_written(work: str | Path) -> list[Path]:
    """What processes that were killed left under private names, and tensors without their JSON."""
    alone = [
        path for path in Path(work).glob("checkpoint-*.safetensors") if not path.with_suffix(".json").exists()
    ]
    return [*Path(work).glob(".checkpoint-*.tmp.*"), *alone]


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
