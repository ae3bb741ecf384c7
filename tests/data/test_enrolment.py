"""Models of several utterances: read, checked, drawn, and prepared with the trials that name them."""

import json
from pathlib import Path

import pytest
from data_files import UTTERANCES, prepare_set, read_lines, write_lines, write_wav
from hypothesis import given
from hypothesis import strategies as st

from spkdistill.data.enrolment import (
    draw_models,
    model_speakers,
    read_models,
    select_utterances,
    write_models,
)
from spkdistill.data.trials import DrawSettings, draw_trials, read_trials
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv

UTT2SPK = {utterance: utterance[:2] for utterance in UTTERANCES}
MODELS = ["a1 a1-0 a1-1", "m-b b2-0 b2-2", "m-c c3-0 c3-1 c3-2", "m-d d4-0"]
TRIALS = ["a1 a1-2 target", "a1 b2-1 nontarget", "m-b b2-1 target", "m-c d4-2 nontarget", "m-d d4-1 target"]

ids = st.text("ab01-.é", min_size=1, max_size=5)


@given(st.dictionaries(ids, st.lists(ids, min_size=1, max_size=4, unique=True), min_size=1))
def test_models_read_back_as_written_and_as_lines_of_spk2utt(tmp_path_factory, models):
    path = tmp_path_factory.mktemp("models") / "trials.enrol"
    models = dict(sorted(models.items()))
    everything = dict.fromkeys([*models, *(id for utterances in models.values() for id in utterances)], "s")
    write_models(path, models)
    assert read_lines(path) == [" ".join([model, *utterances]) for model, utterances in models.items()]
    assert read_models(path, everything) == models
    assert model_speakers(models, everything) == dict.fromkeys(models, "s")


FAULTS = {
    "unknown": ("m1 a1-0 a1-9", r"t.enrol:2: model m1 has a1-9, which is not in utt2spk"),
    "two speakers": ("m1 b2-0 a1-0", r"t.enrol:2: model m1 has utterances of the speakers a1 and b2"),
    "twice": ("m1 a1-0 a1-1 a1-0", r"t.enrol:2: model m1 names an utterance twice"),
    "ambiguous": (
        "b2-0 a1-0",
        r"t.enrol:2: model b2-0 is of speaker a1 and has the name of an utterance of b2",
    ),
    "no utterance": ("m1", r"t.enrol:2: expected an id and its value"),
    "unsorted": ("a0 a1-0", r"t.enrol:2: a0 comes after a1-0"),
    "again": ("a1-0 a1-1", r"t.enrol:2: a1-0 is here for the second time"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_model_is_named_by_line(tmp_path, name):
    line, message = FAULTS[name]
    write_lines(tmp_path / "t.enrol", ["a1-0 a1-0", line])
    with pytest.raises(DataError, match=message):
        read_models(tmp_path / "t.enrol", UTT2SPK)


def test_an_utterance_without_a_speaker_contradicts_no_model(tmp_path):
    write_lines(tmp_path / "t.enrol", ["m1 a1-0 a1-1", "m2 a1-0"])
    models = read_models(tmp_path / "t.enrol", UTT2SPK | {"a1-0": ""})
    assert model_speakers(models, UTT2SPK | {"a1-0": ""}) == {"m1": "a1", "m2": ""}
    assert select_utterances(models, {"a1-1"}) == {"m1": ["a1-1"]}


@st.composite
def draws(draw):
    """A set of speakers, settings that it has enough utterances for, and a seed."""
    size = draw(st.integers(2, 4))
    counts = draw(st.lists(st.integers(size + 1, size + 5), min_size=2, max_size=6))
    spk2utt = {f"s{i}": [f"s{i}-{n}" for n in range(count)] for i, count in enumerate(counts)}
    tests = sorted(count - size for count in counts)
    targets = draw(st.none() | st.integers(1, 6))
    settings = DrawSettings(size, targets, draw(st.integers(1, sum(tests[:-1]))), same_sex=0.0)
    return spk2utt, settings, draw(st.integers(0, 3))


@given(draws())
def test_drawn_models_meet_utterances_of_no_model_once(drawn):
    spk2utt, settings, seed = drawn
    models = draw_models(spk2utt, settings.enrol_utterances, seed, "t")
    for speaker, utterances in models.items():
        assert len(set(utterances)) == settings.enrol_utterances
        assert set(utterances) < set(spk2utt[speaker])
    trials = draw_trials(spk2utt, {}, settings, seed, "t", models)
    assert len({trials.pair(i) for i in range(len(trials))}) == len(trials)
    enrolled = {utterance for utterances in models.values() for utterance in utterances}
    tested: dict[tuple[str, bool], int] = {}
    for index, target in enumerate(trials.target.tolist()):
        model, test = trials.pair(index)
        assert test not in enrolled
        assert (test.partition("-")[0] == model) is target
        tested[model, target] = tested.get((model, target), 0) + 1
    for speaker, utterances in spk2utt.items():
        others = len(utterances) - settings.enrol_utterances
        assert tested[speaker, True] == min(others, settings.targets_per_speaker or others)
        assert tested[speaker, False] == settings.nontargets_per_speaker


def test_impostors_of_models_share_the_sex_as_often_as_asked():
    spk2utt = {f"{sex}{i}": [f"{sex}{i}-{n}" for n in range(8)] for sex in "fm" for i in range(4)}
    settings = DrawSettings(3, 2, nontargets_per_speaker=10, same_sex=0.8)
    models = draw_models(spk2utt, 3, 0, "t")
    trials = draw_trials(spk2utt, {speaker: speaker[0] for speaker in spk2utt}, settings, 0, "t", models)
    pairs = [trials.pair(index) for index in range(len(trials)) if not trials.target[index]]
    same = [model for model, test in pairs if model[0] == test[0]]
    assert all(same.count(speaker) >= 8 for speaker in spk2utt)
    assert len(same) < len(pairs)


def test_a_model_depends_on_seed_list_and_speaker_alone():
    many = {f"s{i}": [f"s{i}-{n}" for n in range(20)] for i in range(4)}
    first = draw_models(many, 5, 0, "t")
    assert draw_models({"s3": many["s3"]}, 5, 0, "t") == {"s3": first["s3"]}
    assert draw_models(many, 5, 1, "t") != first
    assert draw_models(many, 5, 0, "other") != first


def test_a_speaker_with_nothing_left_to_test_is_named():
    with pytest.raises(ConfigError, match=r"trials.t.enrol_utterances: speaker b2 has 3 utterances"):
        draw_models({"a1": list("abcd"), "b2": list("efg")}, 3, 0, "t")


@pytest.fixture
def run(corpus, tmp_path, monkeypatch):
    """Prepare the corpus, its `trials` naming models, with some settings changed; returns the directory."""
    monkeypatch.chdir(tmp_path)
    write_lines(corpus / "trials.enrol", MODELS)
    write_lines(corpus / "trials", TRIALS)

    def prepared(**changes) -> Path:
        settings = {
            "corpus": "kaldi",
            "channel": -1,
            "directory": str(corpus),
            "root": ".",
            "sample_rate": 16000,
            "limit_speakers": None,
            "trials": ["trials"],
        }
        return prepare_set(settings | changes)

    return prepared


def counts(output: Path, name: str = "trials") -> dict[str, int]:
    return json.loads((output / "manifest.json").read_text())["contents"]["trials"][name]


def rejected_trials(output: Path) -> list[list[str]]:
    return read_tsv(output / "rejected_trials.tsv", ["enrol", "test", "reason"])


def spoil(tmp_path: Path, *utterances: str) -> None:
    for utterance in utterances:
        write_wav(tmp_path / "audio" / f"{utterance}.wav", channels=2)


def test_models_of_a_sound_corpus_are_copied_and_counted(run):
    output = run()
    assert read_lines(output / "trials") == TRIALS
    assert read_lines(output / "trials.enrol") == MODELS
    assert rejected_trials(output) == []
    assert counts(output) == {
        "target": 3,
        "nontarget": 2,
        "rejected": 0,
        "outside_limit_speakers": 0,
        "models": 4,
    }


def test_a_model_of_no_trial_is_left_out(corpus, run):
    write_lines(corpus / "trials", TRIALS[:-1])
    output = run()
    assert read_lines(output / "trials.enrol") == MODELS[:-1]
    assert counts(output)["models"] == 3


def test_rejected_utterances_leave_their_model_and_the_last_takes_its_trials(run, tmp_path):
    spoil(tmp_path, "c3-1", "b2-0", "b2-2")
    output = run()
    assert read_lines(output / "trials.enrol") == ["a1 a1-0 a1-1", "m-c c3-0 c3-2", "m-d d4-0"]
    assert read_lines(output / "trials") == [line for line in TRIALS if not line.startswith("m-b")]
    assert rejected_trials(output) == [["m-b", "b2-1", "trials: every utterance of the model is rejected"]]
    assert (counts(output)["rejected"], counts(output)["models"]) == (1, 3)


def test_a_rejected_test_takes_its_trials(run, tmp_path):
    spoil(tmp_path, "b2-1")
    output = run()
    assert rejected_trials(output) == [
        ["a1", "b2-1", "trials: names a rejected utterance"],
        ["m-b", "b2-1", "trials: names a rejected utterance"],
    ]
    assert read_lines(output / "trials.enrol") == ["a1 a1-0 a1-1", "m-c c3-0 c3-1 c3-2", "m-d d4-0"]


def test_an_utterance_without_a_speaker_leaves_its_model(corpus, run, edit):
    edit(corpus / "utt2spk", "c3-0 c3\n", "")
    edit(corpus / "utt2spk", "d4-0 d4\n", "")
    output = run()
    assert read_lines(output / "trials.enrol") == ["a1 a1-0 a1-1", "m-b b2-0 b2-2", "m-c c3-1 c3-2"]
    assert rejected_trials(output) == [["m-d", "d4-1", "trials: every utterance of the model is rejected"]]


def test_limit_keeps_the_models_of_the_first_speakers(run):
    output = run(limit_speakers=2)
    assert read_lines(output / "trials.enrol") == MODELS[:2]
    assert read_lines(output / "trials") == TRIALS[:3]
    assert rejected_trials(output) == []
    assert counts(output)["outside_limit_speakers"] == 2


def test_a_model_beyond_the_limit_is_outside_even_if_one_of_its_utterances_is_rejected(corpus, run, edit):
    edit(corpus / "utt2spk", "c3-0 c3\n", "")
    output = run(limit_speakers=2)
    assert rejected_trials(output) == []
    assert counts(output)["outside_limit_speakers"] == 2


def test_a_prepared_set_is_a_corpus_with_the_same_models(run, tmp_path):
    first = {path.name: path.read_text() for path in run().iterdir() if path.name.startswith("trials")}
    (tmp_path / "out").rename(tmp_path / "copy")
    again = run(directory="copy")
    assert {
        path.name: path.read_text() for path in again.iterdir() if path.name.startswith("trials")
    } == first
    assert set(first) == {"trials", "trials.enrol"}


LIST_FAULTS = {
    "an utterance is enrolled": ("a1 a1-2", "a1-0 a1-2", r"trials:1: model a1-0 is not in .*trials.enrol"),
    "a model is tested": ("a1 b2-1", "a1 m-b", r"trials:2: utterance m-b is not in utt2spk"),
    "target of another": (
        "b2-1 nontarget",
        "b2-1 target",
        r"trials:2: target, but utt2spk gives the speakers a1 and b2",
    ),
    "nontarget of itself": ("b2-1 target", "b2-1 nontarget", r"trials:3: nontarget, but .* b2 and b2"),
}


@pytest.mark.parametrize("name", LIST_FAULTS)
def test_a_trial_that_does_not_fit_the_models_is_named_by_line(corpus, run, edit, name):
    old, new, message = LIST_FAULTS[name]
    edit(corpus / "trials", old, new)
    with pytest.raises(DataError, match=message):
        run()


def test_drawn_models_are_written_and_go_with_the_setting(run):
    draw = {
        "enrol_utterances": 2,
        "targets_per_speaker": None,
        "nontargets_per_speaker": 2,
        "same_sex": 0.0,
    }
    output = run(trials={"drawn": draw})
    models = read_models(output / "drawn.enrol", UTT2SPK)
    assert {model: len(utterances) for model, utterances in models.items()} == dict.fromkeys(
        ["a1", "b2", "c3", "d4"], 2
    )
    trials = read_trials(output / "drawn")
    assert [trials.names[index] for index in trials.enrol] == sorted(["a1", "b2", "c3", "d4"] * 3)
    assert not {trials.names[i] for i in trials.test} & {id for chosen in models.values() for id in chosen}
    assert counts(output, "drawn")["models"] == 4
    assert not (run(trials={"drawn": draw | {"enrol_utterances": 1}}) / "drawn.enrol").exists()


def test_a_speaker_called_like_an_utterance_of_another_cannot_be_a_model(corpus, run):
    speakers = {"a1": "b2-0"}
    write_lines(corpus / "utt2spk", [f"{id} {speakers.get(id[:2], id[:2])}" for id in UTTERANCES])
    (corpus / "spk2utt").unlink()
    (corpus / "spk2gender").unlink()
    draw = {
        "enrol_utterances": 2,
        "targets_per_speaker": None,
        "nontargets_per_speaker": 1,
        "same_sex": 0.0,
    }
    with pytest.raises(DataError, match=r"drawn.enrol:2: model b2-0 is of speaker b2-0 .* utterance of b2"):
        run(trials={"drawn": draw})
