"""Records of what made an artifact, and what they protect from."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from spkdistill import arks, provenance
from spkdistill.cli import main, stage_code

RUN = Path("results/here")
MERGE = ["merge", "--parts", f"{RUN}/x/a.1.scp", f"{RUN}/x/a.2.scp", "--output", f"{RUN}/x/a.scp"]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A run's folder with two shards, each made by a stage."""
    monkeypatch.chdir(tmp_path)
    provenance.start_run(RUN, {"seed": 0}, ["my.yaml"], {})
    for job in (1, 2):
        (RUN / "in").mkdir(exist_ok=True)
        with arks.ArkWriter(RUN / f"in/{job}.ark", RUN / f"in/{job}.scp") as writer:
            writer.write(f"k{job}", np.full(4, job, np.float32))
        shard = provenance.Stage(
            "embed",
            {"seed": 0},
            ("shards",),
            [RUN / f"in/{job}.scp"],
            [RUN / f"x/a.{job}.ark", RUN / f"x/a.{job}.scp"],
        )
        with provenance.recorded(shard), arks.ArkWriter(*shard.writes) as writer:
            writer.write(f"k{job}", np.full(4, job, np.float32))
    return RUN


def record(path: str) -> dict:
    return json.loads((RUN / path).read_text())


def digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def flip(path: Path) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 16
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Lose the end of a file."""
    path.write_bytes(path.read_bytes()[:-2])


def test_a_record_names_command_code_settings_and_the_bytes_read_and_written(run):
    assert main(MERGE) == 0
    found = record("x/provenance/a.scp.json")
    assert found["command"] == "merge"
    assert found["code"]["hash"] == stage_code("merge")
    assert found["outputs"]["a.scp"]["sha256"] == digest(run / "x/a.scp")
    # The archives behind an index are inputs as well as the index.
    inputs = [f"{run}/x/a.{job}.{kind}" for job in (1, 2) for kind in ("ark", "scp")]
    assert found["inputs"] == {path: digest(path) for path in inputs}
    assert found["arguments"]["stage"] is None
    assert "parts" not in found["arguments"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["started"])
    assert {"python", "numpy", "torch", "spkdistill"} <= found["made_by"].keys()


def test_nothing_is_recorded_outside_of_a_run(run, tmp_path):
    elsewhere = [*MERGE[:-1], str(tmp_path / "elsewhere/a.scp")]
    assert main(elsewhere) == 0
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["a.scp"]


def test_a_stage_that_fails_leaves_no_record(run):
    assert main([*MERGE, "--expected", f"{run}/x/none"]) == 1
    assert not (run / "x/provenance/a.scp.json").exists()


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("damaged", ["a.1.scp", "a.2.ark"])
def test_a_damaged_input_stops_the_stage_that_reads_it_in_one_line(run, capsys, damaged, damage):
    damage(run / "x" / damaged)
    assert main(MERGE) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"spkdistill: error: {run}/x/{damaged}: not the bytes that `spkdistill embed` wrote"
    )
    assert f"`spkdistill doctor --repair {run}`" in said
    assert said.count("\n") == 1
    assert not (run / "x/a.scp").exists()


def test_a_touched_input_is_read_again_and_taken(run):
    (run / "x/a.1.ark").touch()
    assert main(MERGE) == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"command": "embed"}', "OUTSIDE"])
def test_a_damaged_record_is_one_line(run, capsys, text):
    path = run / "x/provenance/a.1.ark.json"
    path.write_text(path.read_text().replace('"a.1.ark"', '"../a.1.ark"') if text == "OUTSIDE" else text)
    assert main(MERGE) == 1
    assert re.fullmatch(
        r"spkdistill: error: \S+a\.1\.ark\.json: .*\n", capsys.readouterr().err.replace(":1:", ":")
    )
