"""A teacher that is a file is adopted where others are trained, and anew when the file changes."""

import json

import onnx.parser
import pytest
from runs import ROOT, Run

pytestmark = pytest.mark.workflow


@pytest.fixture
def run(tmp_path) -> Run:
    """The tiny run with an ONNX file for its only teacher."""
    run = Run(tmp_path)
    run.config_file.write_text((ROOT / "workflow/configs/tiny.yaml").read_text())
    config = run.config()
    config["features"]["fbank"] = {"kind": "fbank", "num_mel_bins": 40, "cmn": {"kind": "utterance"}}
    config["teachers"] = {"wespeaker": {"features": "fbank", "file": "resnet34.onnx"}}
    config["students"] = {
        "fc8": config["students"]["fc8"] | {"teacher": "wespeaker", "objectives": ["x", "whole"]}
    }
    config["objectives"]["x"] = {"objective": "multilevel", "targets": ["xvector"]}
    config["objectives"]["whole"] = config["objectives"]["x"] | {"targets_of": "utterance"}
    del config["experiments"]
    run.write_config(config)
    write_network(run)
    return run


def write_network(run: Run) -> None:
    """A network that averages the frames of 40 filters and an energy."""
    weights = ", ".join(str(n % 7 - 3) for n in range(41 * 4))
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 17]>
        net (float[B, T, 41] feats) => (float[B, E] embs) <float[41, 4] w = {{{weights}}}> {{
            mean = ReduceMean<axes = [1], keepdims = 0>(feats)
            embs = MatMul(mean, w)
        }}""")
    (run.directory / "resnet34.onnx").write_bytes(model.SerializeToString())


def test_a_file_is_adopted_where_others_are_trained_and_a_student_learns_from_it(run):
    planned = run.planned()
    assert planned["adopt"] == 1
    assert planned["dump_part"] == 2 * run.config()["shards"]  # of views and of whole utterances
    assert not planned.keys() & {"teacher", "aggregators", "dump"}
    assert planned["student"] == 2
    run.finish("results/tiny/students/fc8-whole/config.json")
    student = json.loads((run.results / "students/fc8-whole/config.json").read_text())
    assert student["model"]["embedding"] == 4  # that of the file's network
    utterances = {
        row.split()[1] for row in (run.results / "views/train/views.tsv").read_text().splitlines()[1:]
    }
    cached = (run.results / "targets/wespeaker/train/utterances/xvector.scp").read_text().splitlines()
    assert {line.split()[0] for line in cached} == utterances


def test_a_file_that_changed_is_adopted_anew_or_refused_in_one_line(run):
    target = "results/tiny/teachers/wespeaker/config.json"
    run.finish(target)
    assert json.loads((run.directory / target).read_text())["cost"]["embedding_dim"] == 4
    assert "Nothing to be done" in run.finish(target, "--dry-run")
    (run.directory / "resnet34.onnx").write_bytes(b"other")
    done = run.snakemake(target)
    assert done.returncode != 0
    assert "Reason: Updated input files: resnet34.onnx" in done.stdout + done.stderr
    assert "spkdistill: error: resnet34.onnx: not a readable ONNX file (" in done.stdout + done.stderr
