"""Segments hold the samples that Kaldi's extract-segments cuts, and are refused where it skips them."""

import kaldiio
import numpy as np
import pytest
from golden_tools import KINDS, feature_settings

from golden_commands import GOLDEN, Command, cases, commands, read_table
from spkdistill import audio
from spkdistill.errors import DataError
from spkdistill.features.settings import num_frames

pytestmark = pytest.mark.golden


def read_segments(command: Command) -> dict[str, tuple[str, tuple[float, float]]]:
    wav = read_table(command.arguments[0].removeprefix("scp:"))
    rows = [line.split() for line in (GOLDEN / command.arguments[1]).read_text().splitlines()]
    return {row[0]: (str(GOLDEN / wav[row[1]]), (float(row[2]), float(row[3]))) for row in rows}


def to_lengths(command: Command) -> bool:
    return [following.tool for following in command.then] == ["feat-to-len"]


@pytest.mark.parametrize("command", cases(lambda: [c for c in commands("extract-segments") if not c.options]))
def test_segments_hold_the_samples_that_kaldi_cuts(command):
    scp = read_table(command.arguments[2].split(",")[-1])
    segments = read_segments(command)
    assert set(scp) <= set(segments)
    for key, (location, segment) in segments.items():
        if key in scp:
            rate, samples = kaldiio.load_mat(str(GOLDEN / scp[key]))
            np.testing.assert_array_equal(audio.read(location, segment, rate), samples.astype(np.float32))
            np.testing.assert_array_equal(audio.read(str(GOLDEN / scp[key]), None, rate), samples)
        else:
            with pytest.raises(DataError, match="segment"):
                audio.read(location, segment, audio.info(location)[0])


@pytest.mark.parametrize("command", cases(lambda: [c for c in commands("extract-segments") if c.options]))
def test_other_limits_give_the_durations_that_kaldi_finds(command, monkeypatch):
    monkeypatch.setattr(audio, "MIN_SEGMENT", float(command.options["min-segment-length"]))
    monkeypatch.setattr(audio, "MAX_OVERSHOOT", float(command.options["max-overshoot"]))
    durations = read_table(command.output)
    segments = read_segments(command)
    assert set(durations) <= set(segments)
    for key, (location, segment) in segments.items():
        rate = audio.info(location)[0]
        if key in durations:
            seconds = len(audio.read(location, segment, rate)) / rate
            assert seconds == pytest.approx(float(durations[key]), rel=1e-6)
        else:
            with pytest.raises(DataError, match="segment"):
                audio.read(location, segment, rate)


@pytest.mark.parametrize("command", cases(lambda: [c for c in commands(*KINDS) if to_lengths(c)]))
def test_segments_have_as_many_frames_as_kaldi_computes(command):
    settings = feature_settings(command)
    ours = {}
    for key, location in read_table(command.arguments[0].removeprefix("scp:")).items():
        samples = audio.read(str(GOLDEN / location), None, settings.sample_rate)
        ours[key] = str(num_frames(len(samples), settings))
    assert ours == read_table(command.output)
