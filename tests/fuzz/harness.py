"""Feeding readers mutated files, in a process of its own whose time, memory and actions are watched."""

import contextlib
import logging
import multiprocessing
import os
import re
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from spkdistill.errors import SpkdistillError

from .mutations import mutate

SECONDS = 2  # of the processor, for one input
GRACE = 20  # seconds until a process that waits for something, or does not take the alarm, is killed
MEMORY = 256 << 20  # bytes of address space that a process may take beyond what it has when it starts to read
LONGEST_LINE = 2000  # characters of a message
FORBIDDEN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class"}
FORBIDDEN |= {"marshal.loads", "socket.connect", "os.mkdir", "os.rename", "os.symlink", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

Files = dict[str, bytes]


@dataclass(frozen=True)
class Reader:
    """What is fuzzed: whole folders of valid files, and the call that reads the present folder."""

    name: str
    samples: Callable[[], list[Files]]
    read: Callable[[], Any]
    weight: int = 1  # of all inputs
    reseal: Callable[[Files], Files] | None = None  # makes checksums right again, for half of the inputs


@dataclass
class Row:
    """What became of the inputs of a reader."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    slowest: float = 0.0  # ms
    peak: float = 0.0  # MB beyond what the process had before
    failures: list[str] = field(default_factory=list)


class TookTooLong(BaseException):
    """Raised by the alarm; no `except Exception` of a reader swallows it."""


class Acted(BaseException):
    """Raised where a reader runs, unpickles or writes something."""


def fuzz(readers: list[Reader], inputs: int, seed: int, failures: Path) -> Iterator[tuple[str, Row]]:
    """Feed `inputs` in all, by weight; what fails is saved as a folder `<failures>/<reader>-<number>`."""
    total = sum(reader.weight for reader in readers)
    for reader in readers:
        yield reader.name, fuzz_reader(reader, -(-inputs * reader.weight // total), seed, failures)


def fuzz_reader(reader: Reader, count: int, seed: int, failures: Path) -> Row:
    """Feed a reader; an input that ends or hangs its process fails, and another process goes on behind it."""
    row = Row()
    while row.inputs < count:
        with watched(feed, reader.name, range(row.inputs, count), seed) as (process, results):
            if results.recv() != "ready":  # EOFError: it does not read the valid samples
                raise AssertionError(reader.name)
            while row.inputs < count and results.poll(GRACE):
                try:
                    verdict, milliseconds, peak = results.recv()
                except EOFError:
                    break
                row.peak = max(row.peak, peak)
                note(row, reader, seed, verdict, milliseconds, failures)
            else:
                process.kill()
            process.join(GRACE)
        if row.inputs < count:
            note(row, reader, seed, f"the process ended with {process.exitcode}", GRACE * 1e3, failures)
    return row


def note(row: Row, reader: Reader, seed: int, verdict: str, milliseconds: float, failures: Path) -> None:
    """Count an input, and save it where it failed."""
    number = row.inputs
    row.inputs += 1
    row.slowest = max(row.slowest, milliseconds)
    row.accepted += verdict == "accepted"
    row.refused += verdict == "refused"
    if verdict not in ("accepted", "refused"):
        folder = failures / f"{reader.name}-{number}"
        write_files(folder, case(reader, reader.samples(), seed, number))
        row.failures.append(f"{folder}: {verdict}")


@contextlib.contextmanager
def watched(run: Callable, *arguments: Any) -> Iterator[tuple[multiprocessing.Process, Connection]]:
    """A fresh process that calls `run` with a pipe and the arguments, and the end of it to read from."""
    context = multiprocessing.get_context("spawn")
    results, pipe = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(pipe, *arguments), daemon=True)
    process.start()
    pipe.close()
    try:
        yield process, results
    finally:
        process.kill()
        process.join()
        results.close()


def feed(pipe: Connection, name: str, numbers: range, seed: int) -> None:
    """Read the inputs with these numbers, each in a folder, and send (verdict, ms, peak MB) of each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from .readers import READERS

    reader = READERS[name]
    samples = reader.samples()
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for files in samples:  # what is loaded at a first use is no growth
            write_files(Path(), files)
            reader.read()
            empty_folder()
        silence()
        before = limit_memory()
        pipe.send("ready")
        for number in numbers:
            write_files(Path(), case(reader, samples, seed, number))
            verdict, seconds = verdict_of(reader)
            empty_folder()
            pipe.send((verdict, 1e3 * seconds, peak_memory() - before))


def case(reader: Reader, samples: list[Files], seed: int, number: int) -> Files:
    """Input `number` of a reader: one file of one sample mutated, sometimes two."""
    rng = Random(f"{seed}/{reader.name}/{number}")
    files = dict(rng.choice(samples))
    for name in rng.sample(sorted(files), min(rng.choice((1, 1, 1, 2)), len(files))):
        files[name] = mutate(rng, name, files[name])
    if reader.reseal and rng.random() < 0.5:
        files = reader.reseal(files)
    return files


def verdict_of(reader: Reader) -> tuple[str, float]:
    """accepted, refused, or what is wrong with how the present folder was read; and the seconds it took."""
    start = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with watching():
            reader.read()
        verdict = "accepted"
    except SpkdistillError as error:
        verdict = refusal(str(error))
    except (Exception, TookTooLong, Acted) as error:
        verdict = f"{type(error).__name__}: {error} ({origin(error)})"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return verdict, time.process_time() - start


def refusal(message: str) -> str:
    """refused, or what is wrong with the message."""
    if len(message.splitlines()) != 1 or len(message) > LONGEST_LINE:
        return f"not one line: {message[:200]!r}"
    if not message.isprintable():
        return f"not printable: {message[:200]!r}"
    if "Cannot allocate" in message:
        return message
    return "refused"


def origin(error: BaseException) -> str:
    """The last line of the package that an error went through."""
    trace, place = error.__traceback__, ""
    while trace:
        code = trace.tb_frame.f_code
        if "spkdistill" in code.co_filename and "fuzz" not in Path(code.co_filename).parts:
            place = f"{Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def write_files(folder: Path, files: Files) -> None:
    """Write a folder's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)


def empty_folder() -> None:
    """Remove the files of the present folder."""
    for path in Path().iterdir():
        path.unlink()


def prepare_process() -> None:
    """Warnings of numpy become errors, hangs an exception, and what a reader must not do too."""
    warnings.simplefilter("error", RuntimeWarning)
    logging.disable()
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGPROF, too_long)
    sys.addaudithook(watch)


def too_long(*_: Any) -> None:
    """The alarm."""
    raise TookTooLong(f"over {SECONDS} s")


reading = False


@contextlib.contextmanager
def watching() -> Iterator[None]:
    """A stretch of time in which nothing may be run, unpickled or written."""
    global reading
    reading = True
    try:
        yield
    finally:
        reading = False


def watch(event: str, arguments: tuple) -> None:
    """The audit hook."""
    if reading and (event in FORBIDDEN or (event == "open" and arguments[2] and arguments[2] & WRITING)):
        raise Acted(f"{event} {arguments[:2]}")


def silence() -> None:
    """Standard output and error go nowhere, those of libraries in C too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())


def limit_memory() -> float:
    """Let the process take MEMORY more; MB that it has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return peak_memory()


def peak_memory() -> float:
    """MB of memory that the process has held at most (getrusage would count its parent's)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024
