"""speechocean762 as OpenSLR distributes it, in small, and a copy prepared into other parts."""

import argparse

import pytest
from data_files import prepare_set, read_lines, write_lines, write_wav

from spkdistill.cli.data import corpus_files
from spkdistill.data.corpora.speechocean762 import SpeechOcean762Settings, load
from spkdistill.data.kaldi import read
from spkdistill.errors import DataError

PARTS = {"train": {"0001": "m", "0005": "f"}, "test": {"0003": "f", "0024": "f"}}


@pytest.fixture
def distributed(tmp_path, monkeypatch):
    """Two parts of two speakers with two utterances; tab-separated, ids without the speaker's as a prefix."""
    monkeypatch.chdir(tmp_path)
    for part, speakers in PARTS.items():
        folder = tmp_path / "so762" / part
        folder.mkdir(parents=True)
        ids = [f"0{speaker}00{number}" for speaker in speakers for number in (11, 35)]
        (folder / "wav.scp").write_text("".join(f"{i}\tWAVE/SPEAKER{i[1:5]}/{i}.WAV\n" for i in ids))
        (folder / "utt2spk").write_text("".join(f"{i}\t{i[1:5]}\n" for i in ids))
        (folder / "spk2gender").write_text("".join(f"{s}\t{g}\n" for s, g in speakers.items()))
        for i in ids:
            path = tmp_path / "so762" / "WAVE" / f"SPEAKER{i[1:5]}" / f"{i}.WAV"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_wav(path)
    return tmp_path / "so762"


def settings_for(**changes) -> dict:
    return {
        "corpus": "speechocean762",
        "directory": "so762",
        "part": "train",
        "root": None,
        "sample_rate": 16000,
        "limit_speakers": None,
        "trials": {},
    } | changes


def test_distributed_part_gets_prefixed_ids_and_paths(distributed):
    draw = {"enrol_utterances": 1, "targets_per_speaker": None, "nontargets_per_speaker": 1, "same_sex": 0.0}
    prepare_set(settings_for(part="test", trials={"trials": draw}), max_rejected=0.0)
    data = read("out")
    assert data.utt2spk == {
        "so0003-000030011": "so0003",
        "so0003-000030035": "so0003",
        "so0024-000240011": "so0024",
        "so0024-000240035": "so0024",
    }
    assert data.spk2gender == {"so0003": "f", "so0024": "f"}


def test_speeds_of_a_part_follow_its_new_ids(distributed):
    write_lines(
        distributed / "test/utt2speed", ["000030011 0.9", "000030035 1", "000240011 1", "000240035 1.1"]
    )
    prepare_set(settings_for(part="test"), max_rejected=0.0)
    assert list(read("out").utt2speed.values()) == [0.9, 1.0, 1.0, 1.1]


def test_all_is_both_parts_in_order(distributed):
    data = load(SpeechOcean762Settings(**settings_for(part="all"))).data
    assert list(data.spk2utt) == ["so0001", "so0003", "so0005", "so0024"]
    assert list(data.wav) == sorted(data.wav) == list(data.utt2spk)


def test_a_change_in_either_part_is_a_change_of_all(distributed):
    paths = corpus_files(argparse.Namespace(settings=settings_for(part="all")))
    assert {(path.parent.name, path.name) for path in paths} >= {("train", "wav.scp"), ("test", "spk2gender")}


def test_parts_must_not_share_a_speaker(distributed):
    for name in ("wav.scp", "utt2spk", "spk2gender"):
        (distributed / "test" / name).write_bytes((distributed / "train" / name).read_bytes())
    with pytest.raises(DataError, match="speaker so0001 is in two parts"):
        load(SpeechOcean762Settings(**settings_for(part="all")))


def test_limit_takes_the_first_speakers(distributed):
    data = load(SpeechOcean762Settings(**settings_for(limit_speakers=1))).data
    assert list(data.spk2utt) == ["so0001"]


def test_models_beside_a_part_s_trials_have_the_prefixed_ids(distributed):
    models = ["m so0003-000030011 so0003-000030035"]
    trials = ["m so0003-000030035 target", "m so0024-000240011 nontarget"]
    write_lines(distributed / "test" / "trials", trials)
    write_lines(distributed / "test" / "trials.enrol", models)
    prepare_set(settings_for(part="test", trials=["trials"]), max_rejected=0.0)
    assert read_lines(distributed.parent / "out" / "trials") == trials
    assert read_lines(distributed.parent / "out" / "trials.enrol") == models


def test_prepared_copy_reads_as_it_is(shared):
    folder = shared / "corpora" / "so762"
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder}; set SPKDISTILL_SHARED")
    changes = {
        "directory": str(folder),
        "part": "eval",
        "root": str(folder.parent),
        "trials": {"trials": None},
    }
    source = load(SpeechOcean762Settings(**settings_for(**changes)))
    original = read(folder / "eval")
    assert source.data.utt2spk == original.utt2spk
    assert source.data.spk2gender == original.spk2gender
    assert len(source.trials["trials"]) == 12000
    assert source.trials["trials"].target.sum() == 6000
