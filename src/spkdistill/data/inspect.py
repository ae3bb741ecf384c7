"""The stage `inspect`: how long each recording is, or why it cannot be used, by its header alone."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from spkdistill import audio
from spkdistill.data.corpora import load
from spkdistill.data.headers import one_line, write_headers
from spkdistill.errors import DataError
from spkdistill.files import read_text
from spkdistill.progress import progress
from spkdistill.shards import shard

READERS = 16  # threads that read headers: on a network disk they wait, and wait together
BATCH = 256  # recordings a thread takes at a time
FOLDERS = 1 << 12  # whose real paths are remembered: recordings of a folder follow each other


def inspect(
    settings: Mapping[str, Any],
    allow_pipes: bool,
    allow_outside: bool,
    job: int,
    jobs: int,
    output: str | Path,
) -> None:
    """Write the headers of a shard of a set's recordings.

    DataError where the corpus contradicts itself, or a recording lies outside of the set's folders and that
    is not allowed.
    """
    wav = load({**settings, "trials": {}}, allow_pipes, []).data.wav
    recordings = shard(list(wav), job, jobs)
    form = settings["sample_rate"], settings.get("channel", -1), allow_pipes
    folders = None if allow_outside else root_folders(settings)

    def look(batch: list[str]) -> list[int | str]:
        if folders is not None:
            refuse_outside({recording: wav[recording] for recording in batch}, folders, settings)
        return [samples_of(wav[recording], *form) for recording in batch]

    batches = [recordings[first : first + BATCH] for first in range(0, len(recordings), BATCH)]
    with ThreadPoolExecutor(READERS) as pool:
        found = progress(pool.map(look, batches), len(batches), "headers", f"batches of {BATCH}")
        write_headers(output, dict(zip(recordings, chain.from_iterable(found), strict=True)))


def samples_of(location: str, rate: int, channel: int, allow_pipes: bool) -> int | str:
    """How many samples a recording has, or why it cannot be used."""
    try:
        found_rate, samples, channels = audio.info(location, allow_pipes)
    except DataError as error:
        return one_line(error)
    if samples == 0:
        return f"{location}: empty, no samples"
    if fault := audio.channel_fault(channels, channel):
        return f"{location}: {fault}"
    if found_rate != rate:
        return f"{location}: {found_rate} Hz, expected sample_rate {rate}"
    return samples


def root_folders(settings: Mapping[str, Any]) -> list[str]:
    """The folders that a set's recordings may lie in, by their real paths: its root, and its directory."""
    directory = settings["directory"]
    return sorted({os.path.realpath(folder) for folder in (settings["root"] or directory, directory)})


def refuse_outside(wav: Mapping[str, str], folders: list[str], settings: Mapping[str, Any]) -> None:
    """DataError for a location that lies, `..` and symbolic links resolved, in none of `folders`."""
    inside = tuple(os.path.join(folder, "") for folder in folders)
    for recording, location in wav.items():
        if location.endswith("|") or "\0" in location:  # a command, which has been allowed; no file at all
            continue
        real = real_path(audio.split_offset(location)[0])
        if not real.startswith(inside):
            raise DataError(
                f"{line_of(recording, settings)}: {recording} is {location}, that is {real}, outside of "
                f"{' and '.join(folders)}; set the set's root to a folder that holds it, or "
                "data.allow_outside: true if you trust the file"
            )


def real_path(path: str) -> str:
    """`path` without symbolic links and `..`; the folders, which hold many recordings, are resolved once."""
    folder, name = os.path.split(os.path.join(os.getcwd(), path))
    real = os.path.join(real_folder(folder), name)
    return os.path.realpath(real) if name in (os.curdir, os.pardir) or os.path.islink(real) else real


real_folder = lru_cache(FOLDERS)(os.path.realpath)


def line_of(recording: str, settings: Mapping[str, Any]) -> str:
    """The wav.scp, and the line where it has the recording by this id."""
    path = Path(settings["directory"], settings.get("part", ""), "wav.scp")
    lines = read_text(path).split("\n") if path.exists() else []
    return next(
        (f"{path}:{n}" for n, line in enumerate(lines, start=1) if line.split()[:1] == [recording]), str(path)
    )
