"""A share of what `python -m tests.fuzz` does, and that its watch sees what it is there for."""

import pickle
import subprocess
import time
import warnings
from pathlib import Path

import pytest

from spkdistill.errors import DataError

from .harness import Reader, fuzz_reader, limit_memory, prepare_process, verdict_of, watched
from .readers import READERS

INPUTS = 12  # times the reader's weight


@pytest.mark.parametrize("name", READERS)
def test_a_mutated_file_is_read_or_refused_in_one_line(name, tmp_path):
    reader = READERS[name]
    row = fuzz_reader(reader, INPUTS * reader.weight, seed=1, failures=tmp_path)
    assert not row.failures, "\n".join(row.failures)
    assert row.accepted + row.refused == row.inputs == INPUTS * reader.weight
    assert row.refused or name == "checkpoint"  # which falls back to the one before, or starts anew


def spin():
    """Take too long."""
    while True:
        pass


def fill():
    """Take too much memory, and not even touch it."""
    bytearray(1 << 30)


def shout():
    """An error that tells the terminal what to do is escaped; here somebody undid that."""

    class Raw(DataError):
        __str__ = Exception.__str__

    raise Raw("a\x1b[2J")


BAD = {
    "spin": (spin, "TookTooLong"),
    "fill": (fill, "MemoryError"),
    "shout": (shout, "not printable"),
    "warn": (lambda: warnings.warn("overflow", RuntimeWarning, stacklevel=1), "RuntimeWarning"),
    "crash": (lambda: {}["a"], "KeyError"),
    "write": (lambda: Path("new").write_text(""), "Acted: open"),
    "run": (lambda: subprocess.run(["true"], check=True), "Acted: subprocess"),
    "unpickle": (lambda: pickle.loads(pickle.dumps(time.sleep)), "Acted: pickle"),
    "refuse": (lambda: (_ for _ in ()).throw(DataError("x: damaged")), "refused"),
    "accept": (lambda: None, "accepted"),
}


def judge(pipe):
    """Send the verdict on each of BAD."""
    prepare_process()
    limit_memory()
    pipe.send({name: verdict_of(Reader(name, list, call))[0] for name, (call, _) in BAD.items()})


def test_the_watch_sees_hangs_memory_warnings_crashes_and_acts():
    with watched(judge) as (_, results):
        verdicts = results.recv()
    for name, (_, expected) in BAD.items():
        assert verdicts[name].startswith(expected), (name, verdicts[name])


def die(pipe):
    """End without a word."""


def test_a_process_that_dies_is_an_error_and_no_success(tmp_path):
    with watched(die) as (_, results), pytest.raises(EOFError):
        results.recv()
