"""`spkdistill doctor` on a finished run: what it finds, says and mends."""

import json
import os
import socket
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from runs import ROOT

pytestmark = pytest.mark.workflow


def doctor(run, *options: str) -> tuple[int, str]:
    """Exit status and output of `spkdistill doctor` for a run."""
    command = [Path(sys.executable).with_name("spkdistill"), "doctor", str(run.results), *options]
    command += ["--snakefile", str(ROOT / "Snakefile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def records(run) -> list[dict]:
    """Every record of a run, with its outputs as paths in the working directory."""
    found = []
    for path in run.results.rglob("provenance/*.json"):
        record, folder = json.loads(path.read_text()), path.parents[1].relative_to(run.directory)
        found.append({**record, "outputs": {str(folder / name) for name in record["outputs"]}})
    return found


def test_every_artifact_has_a_record_that_knows_all_its_inputs(finished):
    by_output = {output: record for record in records(finished) for output in record["outputs"]}
    lines = finished.finish("--detailed-summary").splitlines()
    table = [line.split("\t") for line in lines if line.startswith("results/")]
    assert len(table) > 300
    known = defaultdict(set)  # of a job, which may run two commands
    for output, _, rule, _, inputs, *_ in table:
        known[rule, inputs] |= by_output[output]["inputs"].keys()
    for (rule, inputs), recorded in known.items():
        unknown = set(filter(None, inputs.split(","))) - recorded
        # No index points into the empty archive of an empty shard.
        assert not [path for path in unknown if (finished.directory / path).stat().st_size], rule


def test_a_finished_run_is_well(finished):
    status, said = doctor(finished)
    assert (status, said) == (0, f"{finished.results}: all is well\n")


def test_pages_that_were_asked_for_are_no_leftovers_and_are_kept_up_to_date(copied):
    pages = [
        copied.results / name for name in ("experiments/seeds.html", "targets/xvector/train/analysis.html")
    ]
    copied.finish("analyses", str(pages[0].relative_to(copied.directory)))
    assert all(page.exists() and page.with_suffix(".svg").exists() for page in pages)
    assert doctor(copied) == (0, f"{copied.results}: all is well\n")
    config = copied.config()
    config["metrics"]["bootstrap_samples"] = 200
    copied.write_config(config)
    assert copied.planned()["experiment_page"] == 1


def test_damage_is_found_named_removed_and_made_anew(copied):
    before = copied.digests()
    ark, log = (
        copied.results / name
        for name in ("embeddings/fc8-heads/eval/xvector.1.ark", "students/fc8-heads/log.tsv")
    )
    status = ark.stat()
    data = bytearray(ark.read_bytes())
    data[len(data) // 2] ^= 1
    ark.write_bytes(data)
    os.utime(ark, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk does it
    log.write_bytes(log.read_bytes()[:-10])
    (copied.results / "metrics/fc8-heads/plda/trials.json").unlink()
    half = f"students/fc8-heads/.log.tsv.tmp.{socket.gethostname()}.999999999"
    (copied.results / half).write_text("half")
    (copied.results / "students/notes").write_text("mine")
    status, said = doctor(copied, "--repair")
    assert status == 1
    for line in (
        "removed    results/tiny/embeddings/fc8-heads/eval/xvector.1.ark: other bytes than `spkdistill",
        "removed    results/tiny/students/fc8-heads/log.tsv: ",
        "missing    results/tiny/metrics/fc8-heads/plda/trials.json: `spkdistill metrics` wrote on 20",
        f"removed    results/tiny/{half}: the private file of",
        "left over  results/tiny/students/notes: no rule makes it with this config",
    ):
        assert line in said
    copied.finish()
    (copied.results / "students/notes").unlink()
    assert copied.digests() == before
    assert doctor(copied)[0] == 0


def test_a_changed_setting_is_named_with_both_values(copied):
    config = copied.config()
    config["views"]["frames"] = 80
    del config["students"]["tdnn"]
    copied.write_config(config)
    status, said = doctor(copied)
    assert status == 1
    assert "stale      results/tiny/views/train/views.tsv: frames: 60 -> 80\n" in said
    assert "left over  results/tiny/students/tdnn-trkd/model.safetensors: no rule makes it" in said
    assert "more jobs follow from these" in said
    assert "fc8-heads/model.safetensors: follows from" in doctor(copied, "--all", "--quick")[1]


def test_a_damaged_input_stops_the_run_in_one_line_and_an_edited_one_can_be_accepted(copied):
    trials = copied.results / "data/eval/trials"
    lines = trials.read_text().splitlines(keepends=True)
    trials.write_text("".join(lines[1:]))
    done = copied.snakemake()
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "results/tiny/data/eval/trials: not the bytes that `spkdistill prepare` wrote" in said
    assert f"accepted   {trials}\n" in doctor(copied, "--accept", str(trials))[1]
    copied.finish()
    scores = Path(copied.results, "scores/xvector/cosine/trials/scores").read_text().splitlines()
    assert len(scores) == len(lines) - 1
