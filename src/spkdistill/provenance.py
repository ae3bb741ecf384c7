"""Provenance: beside every artifact of a run, in `provenance/`, a record of what made it.

A record says which command, with which settings, code, inputs and libraries, wrote which bytes, where and
when. It also protects: an input whose bytes are not those of its record stops the stage that reads it.
"""

import hashlib
import os
import platform
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spkdistill.codehash import code_hash
from spkdistill.errors import DataError
from spkdistill.files import read_json, write_json
from spkdistill.manifest import made_by

RUN_FILE = "run.json"
FOLDER = "provenance"
PLACE = re.compile(rb"^\S+[ \t]+(\S.*):\d+(?:\[[^\n]*\])?[ \t\r]*$", re.MULTILINE)


@dataclass(frozen=True)
class Stage:
    """What a command does: its arguments that are no paths, the modules it runs, what it reads and writes."""

    command: str
    arguments: Mapping[str, Any]
    modules: tuple[str, ...]
    reads: list[Path]
    writes: list[Path]  # or may write


def start_run(
    run_folder: str | Path,
    config: Mapping[str, Any],
    config_files: Iterable[str | Path],
    overrides: Mapping[str, Any],
) -> None:
    """Write `run.json`, which makes a folder that of a run: its stages leave records.

    `config` is the complete one; the files and the values of `--config` are what it was made of. Files below
    the working directory are named from there, so that it can be moved.
    """
    here = Path.cwd()
    files = [
        path.relative_to(here) if path.is_relative_to(here) else path for path in map(Path, config_files)
    ]
    made_of = {"config_files": list(map(str, files)), "overrides": overrides}
    write_json(Path(run_folder, RUN_FILE), {**made_of, "config": config})


def run_of(path: str | Path) -> Path | None:
    """The run that a file belongs to: the nearest folder above it with a run.json."""
    return next((folder for folder in Path(path).parents if (folder / RUN_FILE).exists()), None)


@contextmanager
def recorded(stage: Stage) -> Iterator[None]:
    """Check a stage's inputs, run the block, and record what it wrote; outside of a run only the block.

    DataError names an input that is not what the stage before wrote.
    """
    run = run_of(stage.writes[0])
    if run is None:
        yield
        return
    started, code = time.time(), {"modules": list(stage.modules), "hash": code_hash(*stage.modules)}
    inputs = input_digests(stage.reads, run)
    yield
    first, outputs = stage.writes[0], {}
    for path in filter(Path.exists, stage.writes):  # not every set has segments
        outputs[path.name] = {"sha256": sha256(path), **signature(path)}
    write_json(
        record_file(first),
        {
            "command": stage.command,
            "arguments": stage.arguments,
            "code": code,
            "inputs": inputs,
            "outputs": outputs,
            "made_by": {"python": platform.python_version(), **made_by()},
            "host": socket.gethostname(),
            "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "seconds": round(time.time() - started, 1),
        },
    )


def record_file(first_output: Path) -> Path:
    """Where the record of a stage stands whose first output is this one."""
    return first_output.parent / FOLDER / f"{first_output.name}.json"


def input_digests(paths: Iterable[Path], run: Path) -> dict[str, str]:
    """The SHA-256 of each input, and of the archives of this run that an index among them points into."""
    records = Records()
    found: dict[str, str] = {}
    for path in paths:
        behind = archives_behind(path, run) if path.suffix == ".scp" else []
        for each in (path, *behind):
            if each.is_file() and str(each) not in found:
                found[str(each)] = records.checked_digest(each)
    return found


def archives_behind(scp: Path, run: Path) -> list[Path]:
    """The archives that an index points into, as far as they belong to the run."""
    try:
        places = {found[1] for found in PLACE.finditer(scp.read_bytes())}
    except OSError:
        return []  # the stage itself will say so
    below = f"{run}/".encode()
    return sorted(Path(os.fsdecode(place)) for place in places if place.startswith(below))


class Records:
    """The records of the folders that were asked for; each folder and each file is read once."""

    def __init__(self) -> None:
        self.folders: dict[Path, dict[str, tuple[Path, dict[str, Any]]]] = {}
        self.digests: dict[Path, str] = {}

    def of(self, path: Path) -> tuple[Path, dict[str, Any]] | None:
        """The record that has a file among its outputs, and where it stands."""
        if path.parent not in self.folders:
            self.folders[path.parent] = read_records(path.parent)
        return self.folders[path.parent].get(path.name)

    def digest(self, path: Path) -> str:
        """A file's SHA-256, read from its record if size and time of change are those of the record."""
        if path not in self.digests:
            found = self.of(path)
            trusted = found and unchanged(path, found[1]["outputs"][path.name])
            self.digests[path] = found[1]["outputs"][path.name]["sha256"] if trusted else sha256(path)
        return self.digests[path]

    def checked_digest(self, path: Path) -> str:
        """`digest`; DataError if the file has a record and other bytes."""
        digest, found = self.digest(path), self.of(path)
        if found and digest != found[1]["outputs"][path.name]["sha256"]:
            where, record = found
            raise DataError(
                f"{path}: not the bytes that `spkdistill {record['command']}` wrote ({where}); "
                f"`spkdistill doctor --repair {run_of(path)}` removes it, and the next run makes it anew"
            )
        return digest


def read_records(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The records of a folder by the outputs that they name, of several the newest."""
    found = []
    for path in (folder / FOLDER).glob("*.json"):
        record = read_json(path)
        if not is_record(record):
            raise DataError(f"{path}: damaged; `spkdistill doctor --repair {run_of(path)}` removes it")
        found.append((path, record))
    return {name: (path, record) for path, record in oldest_first(found) for name in record["outputs"]}


def oldest_first(records: Iterable[tuple[Path, dict[str, Any]]]) -> list[tuple[Path, dict[str, Any]]]:
    """Records in the order in which their stages were run: a later one knows what an output is now."""
    return sorted(records, key=lambda found: (found[1]["started"], found[0]))


def is_record(value: Any) -> bool:
    """Whether the contents of a JSON file are those of a record."""
    keys = {"command": str, "arguments": dict, "code": dict, "inputs": dict, "outputs": dict, "started": str}
    if not isinstance(value, dict) or not all(isinstance(value.get(key), kind) for key, kind in keys.items()):
        return False
    code, written = value["code"], {"sha256": str, "bytes": int, "modified": int}
    if not isinstance(code.get("hash"), str) or not isinstance(code.get("modules"), list):
        return False
    return all(isinstance(module, str) for module in code["modules"]) and all(
        Path(name).name == name  # in the record's own folder
        and isinstance(output, dict)
        and all(isinstance(output.get(key), kind) for key, kind in written.items())
        for name, output in value["outputs"].items()
    )


def unchanged(path: Path, output: Mapping[str, Any]) -> bool:
    """Whether a file has the size and time of change of its record, and is taken to be what was written."""
    return signature(path) == {key: output[key] for key in ("bytes", "modified")}


def signature(path: Path) -> dict[str, int]:
    """Size and time of change (ns) of a file."""
    status = path.stat()
    return {"bytes": status.st_size, "modified": status.st_mtime_ns}


def sha256(path: Path) -> str:
    """What `sha256sum` prints for a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
