"""What a person sees when the machine, not the data, says no."""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spkdistill import arks
from spkdistill.cli import add_settings, main


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("file/x.ark", r"file: (File exists|Not a directory)"),
        ("folder", r"folder: Is a directory"),
        ("/proc/nowhere/x.ark.gz", r"/proc/nowhere: "),
    ],
)
def test_an_output_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, target, named):
    monkeypatch.chdir(tmp_path)
    arks.write_archive("a.ark", [("a", np.ones(3, np.float32))])
    Path("file").write_text("here\n")
    Path("folder").mkdir()
    assert main(["ark", "copy", "a.ark", target]) == 1
    error = capsys.readouterr().err
    assert re.fullmatch(rf"spkdistill: error: .*{named}.*\n", error)
    assert ".tmp." not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ark", "file", "folder"]


def test_debug_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arks.write_archive("a.ark", [("a", np.ones(3, np.float32))])
    with pytest.raises(OSError, match="nowhere"):
        main(["--debug", "ark", "copy", "a.ark", "/proc/nowhere/x.ark"])


@pytest.mark.parametrize(
    "arguments", [["ark", "head", "-n", "-1", "a"], ["embed", "--threads", "0"], ["dump", "--threads", "two"]]
)
def test_a_number_out_of_range_is_a_mistake_of_usage(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "expected a whole number" in capsys.readouterr().err


def test_a_stage_that_is_terminated_says_so_and_leaves_no_half_written_file(tmp_path):
    program = """
import argparse, time
from spkdistill import cli
from spkdistill.files import replacing

def write(options):
    with replacing("scores") as file:
        print("writing", flush=True)
        time.sleep(600)

cli.parse = lambda arguments: argparse.Namespace(run=write)
raise SystemExit(cli.main())
"""
    command = [sys.executable, "-c", program]
    stage = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert stage.stdout.readline() == "writing\n"
    assert len(list(tmp_path.iterdir())) == 1
    stage.terminate()
    said = stage.communicate()[1]
    assert (stage.returncode, said) == (1, "spkdistill: error: stopped by SIGTERM\n")
    assert list(tmp_path.iterdir()) == []


def test_settings_too_long_for_an_argument_are_given_in_pieces():
    parser = argparse.ArgumentParser()
    add_settings(parser)
    settings = {"models": ["m" * 100] * 2000}
    text = json.dumps(settings)
    pieces = [text[start : start + 1000] for start in range(0, len(text), 1000)]
    assert parser.parse_args(["--settings", *pieces]).settings == settings
    assert parser.parse_args(["--settings", text]).settings == settings
