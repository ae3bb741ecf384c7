"""Speed-perturbed copies: whose they are, what they are called, and what they leave alone."""

import json
from pathlib import Path

import pytest
from data_files import UTTERANCES, prepare_set, read_lines, write_lines
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill.data.kaldi import DataDir, read, write
from spkdistill.errors import DataError

DRAW = {"enrol_utterances": 1, "targets_per_speaker": None, "nontargets_per_speaker": 2, "same_sex": 0.5}
SPEEDS = (1.1, 0.9)  # in no order


@pytest.fixture
def run(corpus, tmp_path, monkeypatch):
    """Prepare the corpus with copies at some speeds; returns the written directory."""
    monkeypatch.chdir(tmp_path)

    def prepared(speeds=SPEEDS, output="out", **changes) -> Path:
        settings = {
            "corpus": "kaldi",
            "channel": -1,
            "directory": "corpus",
            "root": ".",
            "sample_rate": 16000,
            "limit_speakers": None,
            "trials": {"trials": None, "drawn": DRAW},
        }
        return prepare_set(settings | changes, output=output, speeds=speeds)

    return prepared


def table(path: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in read_lines(path))


def manifest(output: Path) -> dict:
    return json.loads((output / "manifest.json").read_text())


def test_each_speed_of_a_speaker_is_a_speaker_of_the_same_recordings(run):
    output = run()
    copies = {f"sp{speed}-{u}": (u, speed) for speed in SPEEDS for u in UTTERANCES}
    originals = {u: (u, 1) for u in UTTERANCES}
    expected = dict(sorted((copies | originals).items()))
    speaker_of = {id: id[: -len("-0")] for id in expected}
    assert table(output / "utt2spk") == speaker_of
    assert table(output / "wav.scp") == {id: f"audio/{u}.wav" for id, (u, _) in expected.items()}
    assert {id: float(speed) for id, speed in table(output / "utt2speed").items()} == {
        id: speed for id, (_, speed) in expected.items()
    }
    seconds = {id: float(value) for id, value in table(output / "utt2dur").items()}
    assert seconds == pytest.approx({id: 0.5 / speed for id, (_, speed) in expected.items()})
    sexes = table(output / "spk2gender")
    assert len(sexes) == 12
    assert (sexes["sp0.9-b2"], sexes["sp1.1-c3"]) == ("f", "m")
    assert table(output / "spk2utt")["sp1.1-a1"] == "sp1.1-a1-0 sp1.1-a1-1 sp1.1-a1-2"
    contents = manifest(output)["contents"]
    assert (contents["utterances"], contents["speakers"], contents["male_speakers"]) == (36, 12, 6)
    assert contents["ids_without_speaker_prefix"] == 0


def test_the_written_files_are_sorted_and_agree(run):
    data = read(run())
    assert [utterance.speed for utterance in data.utterances] == [1.0] * 12 + [0.9] * 12 + [1.1] * 12


def test_a_copy_of_a_segment_is_the_same_stretch_of_the_same_recording(with_segments, run):
    data = read(run())
    assert list(data.wav) == ["call1", "call2"]
    assert data.utterance("sp1.1-a1-2").segment == data.utterance("a1-2").segment == (0.25, 0.75)
    assert data.utt2dur["sp1.1-a1-2"] == pytest.approx(0.5 / 1.1)


def test_trials_are_those_of_the_set_without_copies(run):
    plain, copied = run((), "plain"), run()
    for name in ("trials", "drawn", "rejected.tsv", "rejected_trials.tsv"):
        assert (copied / name).read_bytes() == (plain / name).read_bytes()
    assert manifest(copied)["contents"]["trials"] == manifest(plain)["contents"]["trials"]


def test_a_set_without_copies_has_no_trace_of_them(run):
    run()
    output = run(())
    assert not (output / "utt2speed").exists()
    assert "speeds" not in (output / "manifest.json").read_text()
    assert list(read(output).utt2spk) == UTTERANCES


def test_a_bad_recording_is_rejected_once_and_has_no_copy(tmp_path, run):
    (tmp_path / "audio/a1-1.wav").unlink()
    output = run()
    assert [line.split("\t")[0] for line in read_lines(output / "rejected.tsv")] == ["utterance", "a1-1"]
    assert manifest(output)["contents"]["rejected"] == 1
    kept = read(output).utt2spk
    assert len(kept) == 3 * (len(UTTERANCES) - 1)
    assert not any(id.endswith("a1-1") for id in kept)


@pytest.mark.parametrize(
    ("old", "new", "taken"), [("d4-2 ", "sp0.9-a1-0 ", "sp0.9-a1-0"), (" d4\n", " sp1.1-b2\n", "sp1.1-b2")]
)
def test_an_id_that_a_copy_would_have_is_refused(corpus, run, old, new, taken):
    (corpus / "spk2utt").unlink()
    (corpus / "spk2gender").unlink()
    for path in (corpus / "wav.scp", corpus / "utt2spk"):
        path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=rf"out: the corpus has {taken}, which is what a copy") as caught:
        run(trials={})
    assert "\n" not in str(caught.value)


@pytest.fixture
def own_speeds(corpus) -> dict[str, float]:
    """The corpus has an utt2speed; the speeds in it."""
    speeds = dict.fromkeys(UTTERANCES, 1.0) | {"a1-1": 0.8, "c3-0": 1.25}
    write_lines(corpus / "utt2speed", [f"{id} {speed:g}" for id, speed in speeds.items()])
    return speeds


def test_speeds_of_a_corpus_s_own_are_kept_and_counted(run, own_speeds, tmp_path):
    (tmp_path / "audio/d4-2.wav").unlink()
    data = read(run(()))
    del own_speeds["d4-2"]
    assert data.utt2speed == own_speeds
    assert data.utt2dur == pytest.approx({id: 0.5 / speed for id, speed in own_speeds.items()})


def test_copies_of_a_corpus_with_speeds_of_its_own_are_refused(run, own_speeds):
    with pytest.raises(DataError, match="out: the corpus has an utt2speed of its own; remove"):
        run()


FAULTS = {
    "missing": ("b2-1 1\n", "", "utt2speed: b2-1 of wav.scp or segments is missing"),
    "unknown": ("d4-2 1\n", "d4-2 1\nd4-9 1\n", "utt2speed:13: d4-9 is not in wav.scp or segments"),
    "unsorted": ("a1-0 1\na1-1 0.8\n", "a1-1 0.8\na1-0 1\n", "utt2speed:2: a1-0 comes after a1-1"),
    "twice": ("a1-1 0.8\n", "a1-1 0.8\na1-1 0.8\n", "utt2speed:3: a1-1 is here for the second time"),
    "no value": ("a1-1 0.8\n", "a1-1\n", "utt2speed:2: expected an id and its value"),
    **{
        value: ("a1-1 0.8\n", f"a1-1 {value}\n", "utt2speed:2: the speed of a1-1 is")
        for value in ("0", "-1", "0.49", "2.01", "nan", "inf", "0.955", "1e0", "1_0", "٢", "fast", "1 1")
    },
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_utt2speed_is_one_line(corpus, own_speeds, edit, name):
    old, new, message = FAULTS[name]
    edit(corpus / "utt2speed", old, new)
    with pytest.raises(DataError, match=message) as caught:
        read(corpus)
    assert "\n" not in str(caught.value)


ids = st.text("abcXYZ019-_.é", min_size=1, max_size=6)
speeds = st.integers(50, 200).map(lambda percent: percent / 100)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(ids, speeds, min_size=1, max_size=20))
def test_speeds_read_back_as_they_were_written(tmp_path_factory, table):
    folder = tmp_path_factory.getbasetemp() / "speeds"
    table = dict(sorted(table.items()))
    utt2spk = dict.fromkeys(table, "s")
    data = DataDir(dict.fromkeys(table, "x.wav"), utt2spk, None, {}, {}, table)
    write(folder, data)
    assert read(folder) == data
