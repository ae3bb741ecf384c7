"""What doctor says where Snakemake is not asked, and what it leaves alone."""

import json
from pathlib import Path

import pytest

from spkdistill import doctor
from spkdistill.cli import main
from spkdistill.doctor import Finding, Plan, damage, is_debris, left_over, read_run_records, repair
from spkdistill.provenance import Stage, recorded, start_run

RUN = Path("results/here")


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    start_run(RUN, {}, [], {})
    return RUN


def make(command: str, *names: str, text: str = "made\n") -> None:
    """Leave artifacts as a stage would."""
    writes = [RUN / name for name in names]
    with recorded(Stage(command, {}, ("shards",), [], writes)):
        for path in writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def age(record: str) -> None:
    """Let a record be of an earlier day."""
    path = RUN / record
    path.write_text(json.dumps({**json.loads(path.read_text()), "started": "2001-01-01T00:00:00+00:00"}))


def test_a_file_that_another_stage_has_made_since_is_as_that_one_left_it(run, capsys):
    make("synthesise", "data/wav.1.ark", "data/headers.1.tsv")
    age("data/provenance/wav.1.ark.json")
    make("inspect", "data/headers.1.tsv", text="another\n")
    assert main(["doctor", str(run)]) == 0
    assert capsys.readouterr().out.endswith("results/here: all is well\n")


def test_results_may_lie_on_another_disk_behind_a_link(run, capsys):
    make("views", "views/views.tsv")
    Path("results").rename("disk")
    Path("results").symlink_to("disk")
    (run / "views/views.tsv").write_text("other\n")
    assert main(["doctor", str(run)]) == 1
    assert (
        "damaged    results/here/views/views.tsv: 6 bytes of the 5 that `spkdistill views`"
        in capsys.readouterr().out
    )


def test_what_a_person_removed_because_no_rule_makes_it_is_not_missed(run):
    make("train", "students/old/model")
    make("train", "students/new/model")
    (run / "students/old/model").unlink()
    (run / "students/new/model").unlink()
    wanted = {run / "students/new/model"}
    records, _ = read_run_records(run)
    assert [finding.path for finding in damage(records, wanted, quick=False)] == [run / "students/new/model"]
    left = list(left_over(run, Plan(wanted, wanted, []), records))
    assert [(finding.kind, finding.path) for finding in left] == [
        ("left over", run / "students/old/provenance/model.json")
    ]
    assert repair(left) == [run / "students/old/provenance/model.json"]
    assert len(read_run_records(run)[0]) == 1


def test_repair_removes_what_is_damaged_or_nobodys_and_nothing_else(run):
    kept = [Finding(kind, run / "x", "") for kind in ("missing", "stale", "follows", "to do", "left over")]
    assert not any(map(is_debris, kept))
    assert repair(kept) == []


def test_a_run_without_records_is_one_line(run, capsys):
    assert main(["doctor", str(run)]) == 1
    assert capsys.readouterr().err == "spkdistill: error: results/here: no stage has left a record here\n"


@pytest.mark.parametrize(
    ("files", "overrides", "message"),
    [
        ([], {"--snakefile": "results/here/theirs.smk"}, "'--snakefile' is no key of a config"),
        ([], {"seed": 1, "-n": ""}, "'-n' is no key of a config"),
        (["results/here/theirs.yaml"], {}, "names results/here/theirs.yaml among the results"),
        (["results/other/theirs.yaml"], {}, "names results/other/theirs.yaml among the results"),
        (None, {}, "damaged"),
        ([], None, "damaged"),
    ],
)
def test_a_strangers_results_run_nothing(run, capsys, monkeypatch, files, overrides, message):
    make("views", "views/views.tsv")
    Path("Snakefile").touch()
    for folder in ("here", "other"):
        Path("results", folder).mkdir(exist_ok=True)
        Path("results", folder, "theirs.yaml").touch()
    monkeypatch.setattr(doctor, "said_by", lambda command: pytest.fail(f"{command} was called"))
    (run / "run.json").write_text(json.dumps({"config_files": files, "overrides": overrides, "config": {}}))
    assert main(["doctor", str(run)]) != 0
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("code", [{}, {"modules": ["views"]}, {"modules": [1], "hash": "a"}])
def test_a_record_without_the_hash_of_its_code_is_damaged(run, capsys, code):
    make("views", "views/views.tsv")
    path = run / "views/provenance/views.tsv.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "code": code}))
    assert main(["doctor", str(run)]) == 1
    assert "views.tsv.json: the record cannot be read" in capsys.readouterr().out
