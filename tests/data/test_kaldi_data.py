"""Data directories: what is read, and the one line that says what is wrong with a bad one."""

import subprocess

import pytest

from spkdistill.data.kaldi import DataDir, Utterance, read, read_table, select, write
from spkdistill.errors import DataError


def test_reads_utterances_in_order(corpus):
    data = read(corpus)
    assert data.utterances[3] == Utterance("b2-0", "b2", "audio/b2-0.wav", None, None)
    assert data.utterances[3].segment is None
    assert [u.id for u in data.utterances] == sorted(u.id for u in data.utterances)
    assert data.spk2utt["c3"] == ["c3-0", "c3-1", "c3-2"]
    assert data.spk2gender["d4"] == "m"


def test_reads_segments_as_stretches_of_recordings(with_segments):
    utterance = read(with_segments).utterances[2]
    assert utterance == Utterance("a1-2", "a1", "audio/call1.wav", 0.25, 0.75)
    assert utterance.segment == (0.25, 0.75)


@pytest.mark.parametrize("kind", ["corpus", "with_segments"])
def test_written_directory_reads_back_equal(kind, tmp_path, request):
    data = read(request.getfixturevalue(kind))
    durations = {utterance.id: 0.1 + 1 / 3 for utterance in data.utterances}
    data = DataDir(data.wav, data.utt2spk, data.segments, durations, data.spk2gender)
    write(tmp_path / "copy", data)
    assert read(tmp_path / "copy") == data


def test_writing_removes_files_of_an_earlier_directory(with_segments):
    data = read(with_segments)
    whole = dict.fromkeys(data.utt2spk, "x.wav")
    write(with_segments, DataDir(whole, data.utt2spk, None, {}, {}))
    assert not (with_segments / "segments").exists()
    assert not (with_segments / "spk2gender").exists()
    assert read(with_segments).utterances[0].segment is None


def test_sorted_as_the_c_locale_does(tmp_path):
    keys = ["z", "Z", "é", "a-1", "a1", "a_1", "Ω", "\U0001f600", "\uffee"]
    (tmp_path / "unsorted").write_text("".join(f"{key} x\n" for key in keys))
    with open(tmp_path / "sorted", "w") as file:
        subprocess.run(["sort", tmp_path / "unsorted"], stdout=file, env={"LC_ALL": "C"}, check=True)
    assert len(read_table(tmp_path / "sorted")) == len(keys)
    with pytest.raises(DataError, match=r"unsorted:2: Z comes after z; sort"):
        read_table(tmp_path / "unsorted")


def test_select_keeps_only_what_the_utterances_need(with_segments):
    data = select(read(with_segments), {"a1-0", "a1-2"})
    assert list(data.wav) == ["call1"]
    assert list(data.segments) == ["a1-0", "a1-2"]
    assert data.spk2gender == {"a1": "f"}


FAULTS = {
    "unsorted": ("utt2spk", "a1-0 a1\na1-1 a1", "a1-1 a1\na1-0 a1", r"utt2spk:2: a1-0 comes after a1-1"),
    "duplicate": ("wav.scp", "a1-1 audio/a1-1.wav", "a1-0 other.wav", r"wav.scp:2: a1-0 .* second time"),
    "no value": ("wav.scp", "a1-1 audio/a1-1.wav", "a1-1", r"wav.scp:2: expected an id and its value"),
    "unknown utterance": ("wav.scp", "a1-1 audio/a1-1.wav\n", "", r"utt2spk:2: a1-1 is not in wav.scp"),
    "no speaker": ("utt2spk", "a1-1 a1\n", "", r"utt2spk: a1-1 has no speaker"),
    "empty speaker": ("utt2spk", "a1-1 a1\n", "a1-1\n", r"utt2spk: a1-1 has no speaker"),
    "spk2utt not the inverse": (
        "spk2utt",
        "a1-2\n",
        "\n",
        r"spk2utt:1: a1 and a1-2 do not agree with utt2spk",
    ),
    "spk2utt without a speaker": ("spk2utt", "d4 d4-0 d4-1 d4-2\n", "", r"spk2utt: d4 of utt2spk is missing"),
    "gender": ("spk2gender", "b2 f", "b2 female", r"spk2gender:2: the gender of b2 is 'female'"),
    "gender of nobody": ("spk2gender", "d4 m", "d4 m\ne5 f", r"spk2gender:5: e5 is not in utt2spk"),
    "no gender": ("spk2gender", "d4 m\n", "", r"spk2gender: d4 of utt2spk is missing"),
    "pipe": (
        "wav.scp",
        "audio/b2-0.wav",
        "cat x |",
        r"wav.scp:4: b2-0 is a shell command \(cat x \|\); .*allow_pipes",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_one_line_with_file_and_line(corpus, edit, name):
    file, old, new, message = FAULTS[name]
    edit(corpus / file, old, new)
    with pytest.raises(DataError, match=message) as caught:
        read(corpus)
    assert "\n" not in str(caught.value)


SEGMENT_FAULTS = {
    "recording": ("a1-1 call2", "a1-1 call7", r"segments:2: recording call7 is not in wav.scp"),
    "fields": (
        "a1-1 call2 0.0 0.5",
        "a1-1 call2 0.0",
        r"segments:2: expected `utterance recording start end`",
    ),
    "backwards": ("a1-1 call2 0.0 0.5", "a1-1 call2 0.5 0.0", r"segments:2: a1-1 from 0.5 to 0 s"),
    "negative": ("a1-1 call2 0.0", "a1-1 call2 -1", r"segments:2: a1-1 from -1 to 0.5 s"),
    "not a number": ("a1-1 call2 0.0", "a1-1 call2 nan", r"segments:2: a1-1 from nan to 0.5 s"),
    "unknown utterance": ("d4-2 call2", "d4-3 call2", r"utt2spk:12: d4-2 is not in segments"),
}


@pytest.mark.parametrize("name", SEGMENT_FAULTS)
def test_fault_in_segments(with_segments, edit, name):
    old, new, message = SEGMENT_FAULTS[name]
    edit(with_segments / "segments", old, new)
    with pytest.raises(DataError, match=message):
        read(with_segments)


def test_segment_may_end_with_its_recording(with_segments, edit):
    edit(with_segments / "segments", "a1-1 call2 0.0 0.5", "a1-1 call2 0.0 -1")
    assert read(with_segments).utterances[1].segment == (0.0, -1.0)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a1-0 0.5"], "utt2dur: a1-1 of wav.scp or segments is missing"),
        (["zz 1"], r"utt2dur:1: zz is not in"),
    ],
)
def test_utt2dur_must_name_the_same_utterances(corpus, lines, message):
    (corpus / "utt2dur").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=message):
        read(corpus)


@pytest.mark.parametrize("name", ["wav.scp", "utt2spk"])
def test_missing_and_empty_files_are_named(corpus, name):
    (corpus / name).write_text("")
    with pytest.raises(DataError, match=f"{name}: the file is empty"):
        read(corpus)
    (corpus / name).unlink()
    with pytest.raises(DataError, match=f"{name}: no such file"):
        read(corpus)


def test_pipes_are_kept_where_they_are_allowed(corpus, edit):
    edit(corpus / "wav.scp", "audio/b2-0.wav", "touch ran |")
    assert read(corpus, allow_pipes=True).utterances[3].location == "touch ran |"
    assert not (corpus / "ran").exists()


def test_speaker_must_be_one_id(corpus, edit):
    edit(corpus / "utt2spk", "a1-1 a1\n", "a1-1 a1 b2\n")
    with pytest.raises(DataError, match=r"utt2spk:2: a1-1 has 'a1 b2' for a speaker"):
        read(corpus)
