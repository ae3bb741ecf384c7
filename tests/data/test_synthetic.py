"""Synthetic speech: the same bytes however it is made, in the ranges that were asked for."""

import json
import subprocess
import sys

import numpy as np
import pytest
from kaldiio import load_scp

from spkdistill.audio import read as read_audio
from spkdistill.cli import main
from spkdistill.data.corpora import espeak
from spkdistill.data.corpora.recording import record
from spkdistill.data.corpora.sentences import sentences
from spkdistill.data.corpora.synthetic import (
    SyntheticSettings,
    load,
    synthesise,
    synthesise_shard,
    utt2spk_of,
)
from spkdistill.data.corpora.voices import draw_speaker, vary, voice_file
from spkdistill.data.kaldi import read
from spkdistill.errors import ConfigError, DataError

TRIALS = {
    "trials": {
        "enrol_utterances": 1,
        "targets_per_speaker": None,
        "nontargets_per_speaker": 4,
        "same_sex": 0.5,
    }
}


def settings_for(**changes) -> dict:
    return {
        "corpus": "synthetic",
        "part": "eval",
        "speakers": 4,
        "utterances": 3,
        "seconds": [1.0, 1.5],
        "snr": [10.0, 25.0],
        "sample_rate": 16000,
        "trials": TRIALS,
    } | changes


def build(**changes) -> SyntheticSettings:
    return SyntheticSettings(**settings_for(**changes))


def synthesise_all(folder, jobs: int, **changes) -> dict[str, np.ndarray]:
    """Every utterance, through so many shards, read by kaldiio."""
    spoken = {}
    for job in range(1, jobs + 1):
        scp = folder / f"wav.{job}.scp"
        ark, headers = folder / f"wav.{job}.ark", folder / f"headers.{job}.tsv"
        synthesise_shard(build(**changes), 0, job, jobs, ark, scp, headers)
        spoken |= {key: samples for key, (rate, samples) in load_scp(str(scp)).items()}
    return spoken


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    return synthesise_all(tmp_path_factory.mktemp("one"), 1)


def test_shards_do_not_change_the_samples(spoken, tmp_path):
    sharded = synthesise_all(tmp_path, 5)
    assert list(sharded) == list(spoken)
    assert all(np.array_equal(sharded[utterance], spoken[utterance]) for utterance in spoken)


def test_another_process_makes_the_same_samples(spoken):
    utterance, speaker = list(utt2spk_of(build()).items())[-1]
    code = (
        "import json, sys; from spkdistill.data.corpora.synthetic import *;"
        f"sys.stdout.buffer.write(synthesise({utterance!r}, {speaker!r},"
        f" SyntheticSettings(**json.loads({json.dumps(settings_for())!r})), 0).tobytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == spoken[utterance].tobytes()


def test_espeak_remembers_nothing():
    rng = np.random.default_rng(0)
    one, other = (voice_file(draw_speaker(rng, sex)) for sex in "fm")
    first = espeak.speak("a quiet river", one, 170, 1)
    espeak.speak("thunder follows the ancient engine", other, 190, 2)
    assert np.array_equal(espeak.speak("a quiet river", one, 170, 1), first)


def test_more_speakers_and_utterances_leave_the_first_as_they_were(spoken):
    utterance, speaker = next(iter(utt2spk_of(build(speakers=100, utterances=50)).items()))
    assert np.array_equal(
        synthesise(utterance, speaker, build(speakers=100, utterances=50), 0), spoken[utterance]
    )


def test_lengths_and_levels_are_in_range(spoken):
    for samples in spoken.values():
        assert 16000 <= len(samples) <= 24000
        assert 500 < np.abs(samples.astype(int)).max() <= 32767


def test_seed_and_part_change_every_utterance(spoken):
    utterance, speaker = next(iter(utt2spk_of(build()).items()))
    assert not np.array_equal(synthesise(utterance, speaker, build(), 1), spoken[utterance])
    assert not {*utt2spk_of(build()).values()} & {*utt2spk_of(build(part="train")).values()}


def test_text_outlasts_the_longest_utterance():
    rng = np.random.default_rng(3)
    for sex in "fmfmfm":
        voice = vary(draw_speaker(rng, sex), rng)
        spoken = espeak.speak(sentences(rng, 25 * 4), voice_file(voice), round(voice.words_per_minute), 0)
        assert len(spoken) > 4 * espeak.SAMPLE_RATE


def test_women_speak_higher_than_men():
    pitches = {sex: np.median([fundamental(sex, seed) for seed in range(5)]) for sex in "fm"}
    assert 80 < pitches["m"] < 150 < pitches["f"] < 280


def fundamental(sex: str, seed: int) -> float:
    """Pitch in Hz of clean speech, by the autocorrelation of its loudest stretch."""
    rng = np.random.default_rng(seed)
    voice = draw_speaker(rng, sex)
    spoken = espeak.speak("follow my yellow moon", voice_file(voice), 150, 0).astype(float)
    frames = spoken[: len(spoken) // 1500 * 1500].reshape(-1, 1500)
    frame = frames[np.argmax((frames**2).sum(axis=1))]
    correlation = np.correlate(frame, frame, "full")[1499:]
    low, high = espeak.SAMPLE_RATE // 400, espeak.SAMPLE_RATE // 60
    return espeak.SAMPLE_RATE / (low + np.argmax(correlation[low:high]))


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_fills_the_silence_at_the_drawn_ratio(snr):
    rate, rng = 16000, np.random.default_rng(0)
    speech = np.concatenate([np.zeros(rate), rng.standard_normal(rate), np.zeros(rate)])
    measured = []
    for seed in range(20):
        recorded = record(speech, rate, (snr, snr), np.random.default_rng(seed)).astype(float)
        silence, sound = np.mean(recorded[: rate // 2] ** 2), np.mean(recorded[rate : 2 * rate] ** 2)
        measured.append(10 * np.log10(sound / silence))
    # the ratio is of the power of all three seconds; the microphone shifts single recordings
    expected = 10 * np.log10(3 * 10 ** (snr / 10) + 1)
    assert np.median(measured) == pytest.approx(expected, abs=3)


def test_prepared_set_has_speakers_sexes_durations_and_trials(tmp_path, monkeypatch, spoken):
    monkeypatch.chdir(tmp_path)
    settings = ["--settings", json.dumps(settings_for()), "--seed", "0"]
    for job in "12":
        outputs = ["--ark", f"data/wav.{job}.ark", "--scp", f"data/wav.{job}.scp"]
        outputs += ["--headers", f"data/headers.{job}.tsv"]
        assert main(["synthesise", *settings, "--job", job, "--jobs", "2", *outputs]) == 0
    shards = ["--wav-scp", "data/wav.1.scp", "data/wav.2.scp"]
    shards += ["--headers", "data/headers.1.tsv", "data/headers.2.tsv"]
    assert main(["prepare", *settings, "--max-rejected", "0", *shards, "--output-dir", "data"]) == 0
    data = read("data")
    assert list(data.spk2gender.values()) == ["f", "f", "m", "m"]
    assert data.utt2dur == {utterance: len(samples) / 16000 for utterance, samples in spoken.items()}
    last = data.utterances[-1]
    assert np.array_equal(read_audio(last.location, last.segment, 16000), spoken[last.id].astype(np.float32))
    labels = [line.split()[2] for line in (tmp_path / "data" / "trials").read_text().splitlines()]
    assert (labels.count("target"), labels.count("nontarget")) == (4 * 3, 4 * 4)


def test_missing_shard_is_noticed(tmp_path):
    outputs = [tmp_path / name for name in ("wav.1.ark", "wav.1.scp", "headers.1.tsv")]
    synthesise_shard(build(), 0, 1, 2, *outputs)
    with pytest.raises(DataError, match=r"see syn-eval-m0000-000.*all shards"):
        load(build(), [tmp_path / "wav.1.scp"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": [3.0, 2.0]}, "sets.eval.seconds: the range 3.0 to 2.0 runs backwards"),
        ({"snr": [30.0, 2.0]}, "sets.eval.snr: the range"),
        ({"sample_rate": 44100}, "sets.eval.sample_rate: 44100 is over 22050"),
        ({"seconds": [0.0, 2.0]}, "sets.eval.seconds: 0.0 is too short"),
        ({"seconds": [2.0]}, "sets.eval.seconds: expected two numbers"),
    ],
)
def test_impossible_settings_are_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        synthesise_shard(build(**changes), 0, 1, 1, tmp_path / "ark", tmp_path / "scp", tmp_path / "tsv")
