"""Recordings may not lie outside of a set's root and directory unless allowed, and ids never become paths."""

import shutil
from pathlib import Path

import pytest
from data_files import UTTERANCES, prepare_set, read_lines, write_lines

from spkdistill.data.headers import read_headers
from spkdistill.data.kaldi import read
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv


@pytest.fixture
def project(tmp_path, corpus, monkeypatch) -> Path:
    """A working directory with the corpus in it, and one more recording beside it, outside."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("corpus", "audio"):
        shutil.move(tmp_path / name, project / name)
    (tmp_path / "outside").mkdir()
    shutil.copy(project / "audio/a1-0.wav", tmp_path / "outside/a.wav")
    monkeypatch.chdir(project)
    return project


def settings(**changes) -> dict:
    return {
        "corpus": "kaldi",
        "channel": -1,
        "directory": "corpus",
        "root": ".",
        "sample_rate": 16000,
        "limit_speakers": None,
        "trials": ["trials"],
    } | changes


def move(project: Path, utterance: str, location: str) -> None:
    lines = read_lines(project / "corpus/wav.scp")
    lines[UTTERANCES.index(utterance)] = f"{utterance} {location}"
    write_lines(project / "corpus/wav.scp", lines)


def links(project: Path) -> None:
    (project / "audio/folder").symlink_to(project.parent / "outside")
    (project / "audio/link.wav").symlink_to(project.parent / "outside/a.wav")
    (project / "audio/twice.wav").symlink_to("link.wav")


OUTSIDE = {
    "absolute": "{above}/outside/a.wav",
    "parent": "audio/../../outside/a.wav",
    "folder that is a link": "audio/folder/a.wav",
    "file that is a link": "audio/link.wav",
    "link to a link": "audio/twice.wav",
    "offset into an archive": "{above}/outside/a.wav:0",
    "another folder of a longer name": "{above}/project2/a.wav",
    "not there": "/nowhere/a.wav",
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_recording_outside_is_refused_with_one_line(project, name):
    links(project)
    move(project, "b2-1", OUTSIDE[name].format(above=project.parent))
    with pytest.raises(DataError) as caught:
        prepare_set(settings())
    said = str(caught.value)
    assert said.startswith("corpus/wav.scp:5: b2-1 is ")
    assert f"outside of {project}" in said
    assert "allow_outside: true" in said
    assert "\n" not in said


def test_a_recording_outside_is_read_where_that_is_allowed(project):
    links(project)
    for utterance, name in zip(UTTERANCES, list(OUTSIDE)[:5], strict=False):
        move(project, utterance, OUTSIDE[name].format(above=project.parent))
    assert list(read(prepare_set(settings(), 0.0, allow_outside=True)).utt2spk) == UTTERANCES


@pytest.mark.parametrize("root", ["{above}", "/", "link"])
def test_a_root_that_holds_it_allows_an_absolute_path(project, root):
    (project / "link").symlink_to(project.parent)
    write_lines(project / "corpus/wav.scp", [f"{u} {project}/audio/{u}.wav" for u in UTTERANCES])
    move(project, "b2-1", f"{project.parent}/outside/a.wav")
    assert (
        list(read(prepare_set(settings(root=root.format(above=project.parent)), 0.0)).utt2spk) == UTTERANCES
    )


def test_the_directory_itself_may_hold_recordings_wherever_it_is(project, monkeypatch):
    shutil.move(project / "audio", project / "corpus/audio")
    write_lines(project / "corpus/wav.scp", [f"{u} {project}/corpus/audio/{u}.wav" for u in UTTERANCES])
    monkeypatch.chdir(project.parent / "outside")
    assert list(read(prepare_set(settings(directory="../project/corpus"), 0.0)).utt2spk) == UTTERANCES


def test_links_and_parents_that_stay_inside_are_followed(project):
    (project / "corpus/link.wav").symlink_to("../audio/a1-0.wav")
    move(project, "a1-0", "corpus/link.wav")
    move(project, "a1-1", "corpus/../audio/a1-1.wav")
    assert list(read(prepare_set(settings(), 0.0)).utt2spk) == UTTERANCES


def test_ids_are_no_paths(project):
    """As VoxCeleb's, ids may have slashes; nothing but the outputs is written or read because of them."""
    speakers = ["../../x", "/etc/y"]
    utterances = sorted(f"{s}/{n}" for s in [*speakers, "id1/..", "nul\0"] for n in range(2))
    for path in (project / "corpus").iterdir():
        path.unlink()
    write_lines(project / "corpus/wav.scp", [f"{u} audio/a1-0.wav" for u in utterances])
    write_lines(project / "corpus/utt2spk", [f"{u} {u[:-2]}" for u in utterances])
    before = set(project.parent.rglob("*"))
    output = prepare_set(settings(trials=[]), 0.0, output="results/out")
    assert list(read(output).utt2spk) == utterances
    written = set(project.parent.rglob("*")) - before - {project / "results"}
    assert all(path.is_relative_to(project / "results/out") for path in written)
    assert {path.parent for path in written} == {project / "results", project / "results/out"}


@pytest.mark.parametrize("name", ["../trials", "a/b", "/etc/passwd", "..", "", "a\0b"])
def test_a_list_of_trials_has_the_name_of_a_file(project, name):
    with pytest.raises(ConfigError, match=r"set\.trials: .* is no name of a file"):
        prepare_set(settings(trials=[name]))


@pytest.mark.parametrize("jobs", [2, 3, 7, 30])
@pytest.mark.parametrize("segmented", [False, True])
def test_a_prepared_set_does_not_depend_on_the_number_of_shards(project, request, jobs, segmented):
    (project / "audio/a1-1.wav").unlink()
    (project / "audio/d4-2.wav").write_bytes(b"no audio")
    if segmented:
        lines = [f"{u} {u} 0.1 {0.3 if u != 'c3-0' else 9}" for u in UTTERANCES]
        write_lines(project / "corpus/segments", lines)
    names = ["wav.scp", "utt2spk", "spk2utt", "utt2dur", "rejected.tsv", "trials", "manifest.json"]
    one, more = (
        prepare_set(settings(), jobs=1, output="one"),
        prepare_set(settings(), jobs=jobs, output="more"),
    )
    assert len(read_tsv(one / "rejected.tsv", ["utterance", "reason"])) == 2 + segmented
    for name in names:
        assert (one / name).read_bytes() == (more / name).read_bytes(), name


def test_headers_of_another_set_are_refused(project):
    prepare_set(settings(), jobs=2)
    from spkdistill.data.prepare import prepare

    with pytest.raises(DataError, match=r"not those of this set's recordings \(see c3-0\)"):
        prepare(settings(), 0, 0.5, False, [], ["out/headers.1.tsv"], "out")


def test_a_number_of_samples_of_any_length_is_read_or_refused(tmp_path):
    path = tmp_path / "headers.tsv"
    path.write_text("recording\tsamples\tfault\na\t" + 5000 * "9" + "\t\n")
    with pytest.raises(DataError, match="a has no number of samples"):
        read_headers([path])
