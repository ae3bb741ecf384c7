"""What is rerun, what is not, and that the same config gives the same bytes."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from runs import MERGED, with_one_student

from spkdistill.files import read_tsv
from spkdistill.metrics.evaluate import PAIRED_COLUMNS
from spkdistill.report.runs import COLUMNS

pytestmark = pytest.mark.workflow


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in finished.finish()


def test_a_comment_in_the_config_reruns_nothing(copied):
    copied.config_file.write_text("# a remark\n" + copied.config_file.read_text())
    assert "Nothing to be done" in copied.finish("--dry-run")


def test_a_students_config_reruns_that_student_only(copied):
    config = copied.config()
    config["objectives"]["trkd"]["lambda_f"] = 5
    copied.write_config(config)
    planned = copied.planned()
    assert planned.keys() == {
        *("student", "embed", "merge_embeddings", "speaker_means", "cosine_backend", "plda_backend"),
        *("score", "calibrate", "fuse", "metrics", "paired", "experiment", "runs", "report"),
    }
    assert planned["student"] == planned["cosine_backend"] == 1
    said = copied.finish("--dry-run")
    assert "Training the student tdnn-trkd\nReason: Params have changed" in said


def test_a_part_that_one_more_student_learns_is_dumped_alone(copied):
    config = copied.config()
    config["objectives"]["fourth"] = {"objective": "multilevel", "targets": ["layer:4", "xvector"]}
    config["students"]["fc8"]["objectives"].append("fourth")
    copied.write_config(config)
    planned = copied.planned()
    assert (planned["dump_part"], planned["merge_targets"], planned["student"]) == (2, 1, 1)
    assert not planned.keys() & {"teacher", "aggregators", "dump"}


@pytest.mark.parametrize(("form", "jobs"), [("factored", {"head": 1}), ("topk", {"dump_part": 2})])
def test_another_form_of_the_logits_dumps_no_embedding_anew(copied, form, jobs):
    config = copied.config()
    config["teachers"]["xvector"]["logits"] = {"form": form}
    copied.write_config(config)
    planned = copied.planned()
    assert {rule: planned.get(rule) for rule in jobs} == jobs
    assert (
        not planned.keys() & {"teacher", "aggregators", "dump", "analyse", "dump_part", "head"} - jobs.keys()
    )
    assert planned["student"] == 1  # that learns from them


def test_a_teacher_dumps_what_is_listed_and_learnt_and_trains_aggregators_only_for_these(finished, tmp_path):
    other = type(finished)(tmp_path)
    config = finished.config()
    config["teachers"]["xvector"]["targets"] = ["wide_bn", "layer:1"]
    config["students"] = {"fc8": config["students"]["fc8"] | {"objectives": ["none", "heads", "dkd"]}}
    other.write_config(config)
    planned = other.planned()
    assert not planned.keys() & {"dump", "aggregators"}
    assert planned["merge_targets"] == 5  # wide_bn, layer:1, logits; layer:2 and xvector of utterances
    assert planned["dump_part"] == 10
    config["objectives"]["heads"]["targets"].append("lde_aggr")
    other.write_config(config)
    assert other.planned()["aggregators"] == 1


def test_a_student_learns_the_same_from_factored_logits_and_topk_keeps_its_temperature(copied):
    target = "results/tiny/students/tdnn-trkd/log.tsv"
    log = copied.directory / target
    dense = log.read_text().splitlines()
    config = copied.config()
    config["teachers"]["xvector"]["logits"] = {"form": "factored"}
    copied.write_config(config)
    said = copied.finish(target)
    assert "Keeping the head of xvector" in said
    assert not re.search("Training the (teacher|aggregators)", said)
    factored = log.read_text().splitlines()
    assert factored[0] == dense[0]
    for one, other in zip(factored[1:], dense[1:], strict=True):
        numbers = [list(map(float, line.split("\t"))) for line in (one, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=0.01)
    config["teachers"]["xvector"]["logits"] = {"form": "topk", "k": 2, "temperatures": [1]}
    copied.write_config(config)
    assert " --top 2 --temperatures 1.0 4.0 " in copied.finish("--dry-run", "--printshellcmds", "--", target)


def test_a_feature_setting_reruns_all_that_depends_on_it(copied):
    config = copied.config()
    config["features"]["mfcc"]["low_freq"] = 40
    copied.write_config(config)
    planned = copied.planned()
    stale = {"features", "vad", "normalise", "views", "teacher", "dump", "student", "embed", "report"}
    assert stale <= planned.keys()
    assert not planned.keys() & {"synthesise", "prepare_train", "prepare_eval"}


def test_copies_at_another_speed_are_made_of_the_recordings_that_are_there(copied):
    config = copied.config()
    config["sets"]["train"]["speeds"] = [0.9]
    copied.write_config(config)
    planned = copied.planned()
    assert {"prepare_train", "features", "vad", "views", "teacher", "dump", "plda_backend"} <= planned.keys()
    assert not planned.keys() & {"synthesise", "prepare_eval"}
    index = "feats/mfcc/train/raw.scp"
    before = (copied.results / index).read_text().split()[::2]
    copied.finish(f"results/tiny/{index}")
    after = (copied.results / index).read_text().split()[::2]
    assert after == [f"sp0.9-{id}" for id in before] + before


def test_a_cohort_setting_rescores_and_trains_no_backend(copied):
    config = copied.config()
    config["backends"]["plda"]["cohort_top"] = 3
    copied.write_config(config)
    planned = copied.planned()
    measured = {"metrics", "paired", "experiment", "runs", "report"}
    assert planned.keys() == {"score", "calibrate", "fuse"} | measured
    assert planned["calibrate"] == planned["fuse"] / 2


def test_a_metric_setting_reruns_no_training(copied):
    config = copied.config()
    config["metrics"]["bootstrap_samples"] = 200
    copied.write_config(config)
    assert copied.planned().keys() == {"metrics", "paired", "experiment", "runs", "report"}


def test_an_experiment_is_a_target_that_trains_its_own_models_only(finished, tmp_path):
    other = type(finished)(tmp_path)
    shutil.copy(finished.config_file, other.config_file)
    planned = other.planned("results/tiny/experiments/seeds.tsv")
    assert (planned["teacher"], planned["student"], planned["experiment"]) == (1, 2, 1)
    assert not planned.keys() & {"aggregators", "dump", "paired", "report", "runs"}


def test_an_experiment_has_a_page_and_a_plot_of_its_own_models_and_tests(copied, tmp_path):
    other = type(copied)(tmp_path / "other")
    other.directory.mkdir()
    shutil.copy(copied.config_file, other.config_file)
    planned = other.planned("results/tiny/experiments/seeds.html")
    assert (planned["teacher"], planned["student"], planned["experiment_page"]) == (1, 2, 1)
    assert not planned.keys() & {"aggregators", "dump", "report", "runs"}
    lists = ("trials", "models")
    assert planned["paired"] == len(lists)
    copied.finish("results/tiny/experiments/seeds.html")
    page = (copied.results / "experiments/seeds.html").read_text()
    assert "<h1>tiny, experiment seeds</h1>" in page
    assert "snakemake results/tiny/experiments/seeds.html" in page
    assert "fc8-none-s1" in page
    assert "fc8-heads" not in page
    drawn = ElementTree.parse(copied.results / "experiments/seeds.svg").getroot()
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    methods = (copied.results / "experiments/seeds.methods.tsv").read_text()
    assert methods.count("\n") == 1  # one method: nothing to compare
    tests = read_tsv(copied.results / "metrics/paired/seeds/_students/plda/trials.tsv", PAIRED_COLUMNS)
    assert [row[1:3] for row in tests] == [["fc8-none/plda", "xvector/plda"]]


def test_the_table_of_an_experiment_has_its_students_by_seed_and_their_teacher(finished):
    rows = read_tsv(finished.results / "experiments/seeds.tsv", COLUMNS)
    systems = list(product(("cosine", "plda", "fused"), ("trials", "models")))
    shown = [COLUMNS.index(column) for column in ("model", "seed", "backend", "trials")]
    found = [tuple(row[place] for place in shown) for row in rows]
    models = ("xvector", ""), ("fc8-none", "0"), ("fc8-none-s1", "1")
    assert found == [(*model, *system) for model in models for system in systems]
    every = read_tsv(finished.results / "report/runs.tsv", COLUMNS)
    students = [path.name for path in (finished.results / "students").iterdir()]
    assert len(every) == (1 + len(students)) * len(systems)
    assert [row for row in every if row in rows] == rows
    configs = [finished.results / f"students/{name}/config.json" for name, _ in models[1:]]
    assert [json.loads(path.read_text())["seed"] for path in configs] == [0, 1]


def test_seeds_of_a_student_are_tested_as_one_system(finished):
    rows = read_tsv(finished.results / "metrics/paired/plda/trials.tsv", PAIRED_COLUMNS)
    assert [row[1:3] for row in rows if "fc8-none" in row[1] + row[2]] == [
        ["fc8-none/plda", "xvector/plda"],
        ["fc8-heads/plda", "fc8-none/plda"],
    ]
    paths = [finished.results / f"metrics/{name}/plda/trials.json" for name in ("fc8-none", "fc8-none-s1")]
    eers = [json.loads(path.read_text())["eer"] for path in paths]
    assert float(rows[0][3]) == pytest.approx(sum(eers) / 2)


def test_deleted_artifacts_come_back_with_the_same_bytes(copied):
    before = copied.digests()
    for path in (
        *("data/train/wav.1.ark", "vad/eval/vad.2.ark", "views/train/speakers"),
        *(
            "targets/xvector/train/logits.1.scp",
            "students/tdnn-trkd/model.safetensors",
            "embeddings/fc8-heads",
        ),
        *("backends/xvector/plda/plda", "scores/fc8-none/cosine/trials/scores", "report/index.html"),
    ):
        lost = copied.results / path
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
    copied.finish()
    assert copied.digests() == before
    assert "Nothing to be done" in copied.finish("--dry-run")


@pytest.fixture
def ballast(copied) -> Iterator[Path]:
    """A file that takes nearly all room of the disk where the results of the copy are, but for the report."""
    if os.geteuid():
        pytest.skip("mounting a small file system needs root")
    results = copied.directory / "results"
    results.rename(copied.directory / "copied")
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", results], check=True)
    shutil.copytree(copied.directory / "copied", results, dirs_exist_ok=True)
    (copied.results / "report/index.html").unlink()
    disk = os.statvfs(results)
    (results / "ballast").write_bytes(bytes(disk.f_bfree * disk.f_bsize - 40_000))
    yield results / "ballast"
    subprocess.run(["umount", results], check=True)


def test_a_full_disk_stops_a_run_in_one_line_and_with_room_it_goes_on(finished, copied, ballast):
    done = copied.snakemake()
    assert done.returncode != 0
    line = "results/tiny/report/index.html: No space left on device; make room and run again"
    assert f"spkdistill: error: {line}\n" in done.stdout + done.stderr
    ballast.unlink()
    copied.finish()
    assert copied.digests() == finished.digests()


def test_results_do_not_depend_on_the_number_of_shards(finished, tmp_path):
    other = type(finished)(tmp_path)
    config = with_one_student(finished.config()) | {"shards": 3}
    config["trials"]["trials"]["shards"] = 5
    other.write_config(config)
    assert not list(finished.results.glob("scores/*/*/*/scores.*"))
    assert other.planned()["merge_scores"] == 2 * 2  # models, back-ends that are no fusion
    other.finish()
    ours, theirs = finished.digests(), other.digests()
    both = ours.keys() & theirs.keys()
    merged = [name for name in both if name.startswith(MERGED) and "/paired/" not in name]
    assert len(merged) > 40
    assert {name: ours[name] for name in merged} == {name: theirs[name] for name in merged}


def test_a_wrong_config_stops_before_any_job_with_one_line(finished, tmp_path):
    other = type(finished)(tmp_path)
    config = finished.config()
    config["views"]["frmaes"] = 100
    other.write_config(config)
    done = other.snakemake()
    assert done.returncode != 0
    said = [line for line in (done.stdout + done.stderr).splitlines() if "frmaes" in line]
    assert said == ["views: unknown key 'frmaes'; did you mean 'frames'?"]
    assert not other.results.exists()


def test_a_results_tree_can_be_moved(finished, tmp_path):
    shutil.copytree(finished.directory, tmp_path / "elsewhere")
    moved = type(finished)(tmp_path / "elsewhere")
    assert "Nothing to be done" in moved.finish("--dry-run")
    scp = (moved.results / "embeddings/xvector/eval/xvector.scp").read_text()
    assert all(line.split()[1].startswith("results/tiny/") for line in scp.splitlines())


def test_a_small_config_is_laid_over_the_default_one(tmp_path, finished):
    overlay = type(finished)(tmp_path)
    overlay.config_file.write_text(yaml.safe_dump({"run": "mine"}))
    shutil.copy(finished.directory / "run.yaml", tmp_path / "config.yaml")
    assert "synthesise" in overlay.planned()
