"""Recordings and results on S3-compatible storage: as on the disk, but for the paths in indexes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spkdistill.arks import ArkReader
from spkdistill.files import private_parts

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("storage")]  # which share a server

LOCAL_COPIES = ".snakemake/storage/s3"  # Snakemake's default, below the working directory


def test_the_artifacts_are_those_of_a_run_on_the_disk(here, finished, storage):
    there = storage.artifacts()
    assert there.keys() == here.keys()
    differing = {name for name in here if here[name] != there[name]}
    assert differing == {name for name in here if name.endswith(".scp")} | {
        f"results/tiny/data/{name}/manifest.json" for name in ("train", "eval")
    }


def test_only_the_paths_of_an_index_differ(here, finished, storage):
    copies = f"{LOCAL_COPIES}/results/of/mine/".encode()
    for name, content in storage.artifacts().items():
        if name.endswith(".scp") and "/data/" not in name:
            assert content.count(copies) == len(content.splitlines())
            assert content.replace(copies, b"") == here[name]


def test_recordings_stay_where_they_are(finished, storage):
    there = storage.artifacts()
    assert f" {LOCAL_COPIES}/corpus/v1/eval/wav.2.ark:".encode() in there["results/tiny/data/eval/wav.scp"]
    assert not [name for name in there if "/wav." in name and name.endswith(".ark")]
    assert json.loads(there["results/tiny/data/eval/manifest.json"])["contents"]["rejected"] == 0


def test_no_stage_that_had_finished_before_a_kill_is_run_again(killed, finished, storage):
    now = storage.objects("results")
    stages = ("data/train/", "views/train/", "teachers/xvector/model")
    before = [key for key in killed if any(f"results/tiny/{stage}" in key for stage in stages)]
    assert len(before) >= 10
    assert [now[key].last_modified for key in before] == [killed[key].last_modified for key in before]


def test_a_second_run_has_nothing_to_do_here_and_on_another_machine(finished, tmp_path):
    assert "Nothing to be done" in finished.finish()
    shutil.copy(finished.directory / "run.yaml", tmp_path)
    assert "Nothing to be done" in type(finished)(tmp_path, finished.options).finish()


def test_no_local_copy_of_an_artifact_is_left(finished):
    found = [path for path in (finished.directory / LOCAL_COPIES).rglob("*") if path.is_file()]
    left = [path for path in found if not private_parts(path)]  # of a job that was killed
    assert not [path for path in left if "logs" not in path.parts and "benchmarks" not in path.parts]


def test_an_object_that_was_deleted_comes_back_with_the_same_bytes(finished, storage):
    before = storage.artifacts()
    storage.service.Object("results", "of/mine/results/tiny/scores/fc8-heads/plda/trials/scores").delete()
    said = finished.finish("--quiet", "rules")
    assert "score " in said
    assert storage.artifacts() == before


def test_indexes_are_read_below_the_copy_of_the_storage(here, finished, storage, tmp_path, monkeypatch):
    folder = "results/tiny/embeddings/xvector/eval"
    copy = Path(LOCAL_COPIES, "results/of/mine", folder)
    monkeypatch.chdir(tmp_path)
    copy.mkdir(parents=True)
    Path(folder).mkdir(parents=True)
    for name in ("xvector.scp", "xvector.1.ark"):
        storage.service.Object("results", f"of/mine/{folder}/{name}").download_file(copy / name)
        Path(folder, name).write_bytes(here[f"{folder}/{name}"])
    with ArkReader(copy / "xvector.scp") as found, ArkReader(Path(folder, "xvector.scp")) as expected:
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[key], expected[key]) for key in expected)
