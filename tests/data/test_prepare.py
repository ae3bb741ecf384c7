"""`prepare`: what stops it, what it leaves out and says so, and what it writes."""

import json
from pathlib import Path

import pytest
import soundfile
from data_files import UTTERANCES, prepare_set, read_lines, write_lines, write_wav

from spkdistill.cli import main
from spkdistill.data.kaldi import read
from spkdistill.errors import DataError
from spkdistill.files import read_tsv


@pytest.fixture
def run(corpus, tmp_path, monkeypatch):
    """Prepare the corpus with some settings changed; returns the written directory."""
    monkeypatch.chdir(tmp_path)

    def prepared(
        max_rejected=0.5, allow_pipes=False, allow_outside=False, jobs=2, output="out", **changes
    ) -> Path:
        settings = {
            "corpus": "kaldi",
            "channel": -1,
            "directory": str(corpus),
            "root": ".",
            "sample_rate": 16000,
            "limit_speakers": None,
            "trials": ["trials"],
        }
        return prepare_set(settings | changes, max_rejected, allow_pipes, allow_outside, jobs, output)

    return prepared


def rejections(output: Path) -> dict[str, str]:
    return dict(read_tsv(output / "rejected.tsv", ["utterance", "reason"]))


def manifest(output: Path) -> dict:
    return json.loads((output / "manifest.json").read_text())["contents"]


def test_sound_corpus_is_whole(corpus, run):
    output = run(max_rejected=0.0)
    data = read(output)
    assert list(data.utt2spk) == UTTERANCES
    assert data.utt2dur == dict.fromkeys(UTTERANCES, 0.5)
    assert rejections(output) == {}
    assert (output / "trials").read_text() == (corpus / "trials").read_text()
    assert manifest(output)["female_speakers"] == 2
    assert manifest(output)["trials"]["trials"] == {
        "target": 2,
        "nontarget": 2,
        "rejected": 0,
        "outside_limit_speakers": 0,
    }


def test_paths_lead_from_the_working_directory(run, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    location = read(run(root="..", jobs=1)).utterances[0].location
    assert location == "../audio/a1-0.wav"
    assert soundfile.info(location).frames == 8000


def test_voxceleb_trials_are_written_as_kaldi_s(corpus, run):
    write_lines(corpus / "vox", ["1 a1-0 a1-1", "0 a1-0 b2-1"])
    assert read_lines(run(trials=["vox"]) / "vox") == ["a1-0 a1-1 target", "a1-0 b2-1 nontarget"]


BAD_AUDIO = {
    "missing": (lambda path: path.unlink(), "no such file"),
    "empty file": (lambda path: path.write_bytes(b""), "empty"),
    "no samples": (lambda path: write_wav(path, seconds=0), "empty"),
    "rate": (lambda path: write_wav(path, rate=8000), "8000 Hz, expected sample_rate 16000"),
    "stereo": (lambda path: write_wav(path, channels=2), "2 channels"),
    "header": (lambda path: path.write_bytes(b"not audio at all"), "not audio"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:4000]), "truncated"),
}


def test_a_channel_is_asked_of_recordings_that_have_it(tmp_path, run):
    write_wav(tmp_path / "audio" / "a1-1.wav", channels=2)
    output = run(channel=0)
    assert (output / "rejected.tsv").read_text() == "utterance\treason\n"
    assert "a1-1 0.5" in (output / "utt2dur").read_text()
    with pytest.raises(DataError, match="no channel 1; it has 1"):
        run(channel=1)


@pytest.mark.parametrize("name", BAD_AUDIO)
def test_bad_recording_is_listed_and_left_out(tmp_path, run, name):
    spoil, reason = BAD_AUDIO[name]
    spoil(tmp_path / "audio" / "a1-1.wav")
    output = run()
    assert list(rejections(output)) == ["a1-1"]
    assert reason in rejections(output)["a1-1"]
    assert list(read(output).utt2spk) == [utterance for utterance in UTTERANCES if utterance != "a1-1"]
    assert read_tsv(output / "rejected_trials.tsv", ["enrol", "test", "reason"]) == [
        ["a1-0", "a1-1", "trials: names a rejected utterance"]
    ]
    assert manifest(output)["rejected"] == 1
    assert manifest(output)["trials"]["trials"]["rejected"] == 1
    assert len(read_lines(output / "trials")) == 3


@pytest.mark.parametrize("line", ["", "a1-1\n"])
def test_utterance_without_a_speaker_is_listed(corpus, run, edit, line):
    edit(corpus / "utt2spk", "a1-1 a1\n", line)
    output = run()
    assert rejections(output) == {"a1-1": "no speaker in utt2spk"}
    assert "a1-1" not in read(output).utt2spk
    assert len(read_lines(output / "trials")) == 3


def test_speaker_whose_every_utterance_is_bad_disappears(tmp_path, run):
    for number in range(3):
        (tmp_path / "audio" / f"a1-{number}.wav").unlink()
    data = read(run())
    assert list(data.spk2utt) == ["b2", "c3", "d4"]
    assert list(data.spk2gender) == ["b2", "c3", "d4"]


def test_too_many_rejected_is_one_line_naming_the_list(tmp_path, run):
    (tmp_path / "audio" / "a1-1.wav").unlink()
    with pytest.raises(
        DataError, match=r"out/rejected.tsv: 1 of 12 utterances .*0.01 allows \(a1-1: "
    ) as caught:
        run(max_rejected=0.01)
    assert "\n" not in str(caught.value)
    assert list(rejections(Path("out"))) == ["a1-1"]
    assert not Path("out/wav.scp").exists()


def test_trial_of_an_unknown_utterance_stops(corpus, run, edit):
    edit(corpus / "trials", "d4-1", "d4-9")
    with pytest.raises(DataError, match=r"trials:4: utterance d4-9 is not in utt2spk"):
        run()


def test_label_against_utt2spk_stops(corpus, run, edit):
    edit(corpus / "trials", "a1-0 a1-1 target", "a1-0 a1-1 nontarget")
    with pytest.raises(DataError, match=r"trials:1: nontarget, but"):
        run()


def test_pipe_is_refused_and_not_run(corpus, run, edit):
    edit(corpus / "wav.scp", "audio/a1-0.wav", "touch ran; cat audio/a1-0.wav |")
    with pytest.raises(DataError, match=r"wav.scp:1: .*allow_pipes"):
        run()
    assert not Path("ran").exists()
    output = run(allow_pipes=True)
    assert rejections(output) == {}
    assert Path("ran").exists()


def test_limit_keeps_the_first_speakers_and_their_trials(corpus, run):
    output = run(limit_speakers=2)
    assert list(read(output).spk2utt) == ["a1", "b2"]
    assert read_lines(output / "trials") == ["a1-0 a1-1 target", "a1-0 b2-0 nontarget"]
    assert manifest(output)["trials"]["trials"]["outside_limit_speakers"] == 2
    assert read_tsv(output / "rejected_trials.tsv", ["enrol", "test", "reason"]) == []


def test_trials_can_be_drawn_for_any_corpus(run):
    draw = {"enrol_utterances": 1, "targets_per_speaker": None, "nontargets_per_speaker": 2, "same_sex": 1.0}
    output = run(trials={"drawn": draw})
    assert manifest(output)["trials"]["drawn"]["target"] == 12
    assert manifest(output)["trials"]["drawn"]["nontarget"] == 8


def test_segments_have_their_own_durations_and_faults(with_segments, run, edit):
    edit(with_segments / "segments", "a1-1 call2 0.0 0.5", "a1-1 call2 2.5 4.5")
    edit(with_segments / "segments", "b2-0 call2 0.25 0.75", "b2-0 call2 2.5 -1")
    output = run()
    assert "after the 3 s of the recording" in rejections(output)["a1-1"]
    data = read(output)
    assert len(data.utterances) == 11
    assert data.utt2dur["b2-0"] == 0.5
    assert data.segments["a1-2"] == ("call1", 0.25, 0.75)


def test_bad_recording_rejects_all_its_segments(with_segments, run, tmp_path):
    write_wav(tmp_path / "audio" / "call2.wav", seconds=3.0, channels=2)
    output = run(trials=[])
    assert list(rejections(output)) == UTTERANCES[1::2]
    assert list(read(output).wav) == ["call1"]


def test_command_line_ends_with_one_line(corpus, tmp_path, monkeypatch, capsys, edit):
    monkeypatch.chdir(tmp_path)
    settings = {
        "corpus": "kaldi",
        "channel": -1,
        "directory": "corpus",
        "root": ".",
        "sample_rate": 16000,
        "limit_speakers": None,
        "trials": {"trials": None},
    }
    headers = ["--job", "1", "--jobs", "1", "--output", "headers"]
    assert main(["inspect", "--settings", json.dumps(settings), *headers]) == 0
    arguments = ["prepare", "--settings", json.dumps(settings), "--seed", "0", "--max-rejected", "0.01"]
    arguments += ["--headers", "headers"]
    assert main([*arguments, "--output-dir", "out"]) == 0
    edit(corpus / "utt2spk", "b2-0 b2\n", "b2-0 b2\nb2-0 b2\n")
    capsys.readouterr()
    assert main([*arguments, "--output-dir", "out"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("kept", "named"), [("nontarget", "nontarget"), (" target", "target")])
def test_a_list_of_one_kind_of_trials_stops_before_anything_is_trained(corpus, run, kept, named):
    lines = [line for line in read_lines(corpus / "trials") if kept in line]
    write_lines(corpus / "trials", lines)
    with pytest.raises(DataError, match=rf"out/trials: every trial left is a {named}"):
        run()


def test_a_draw_of_nothing_and_a_set_of_nobody_are_named(run):
    nothing = {"enrol_utterances": 1, "targets_per_speaker": 0, "nontargets_per_speaker": 0, "same_sex": 0}
    with pytest.raises(DataError, match="no trial is left"):
        run(trials={"drawn": nothing})
    with pytest.raises(DataError, match="out: the set has no utterance"):
        run(limit_speakers=0)


def test_a_tab_in_a_location_does_not_break_the_list(corpus, run, edit):
    edit(corpus / "wav.scp", "audio/a1-1.wav", "audio/a1\t1.wav")
    assert list(rejections(run())) == ["a1-1"]
