"""Voice activity equals that of Kaldi's compute-vad, frame by frame."""

import numpy as np
import pytest
from golden_tools import table, vad_settings

from golden_commands import cases, commands, read_archive
from spkdistill.features.vad import energy_vad

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("command", cases(lambda: commands("compute-vad")))
def test_voiced_frames_are_exactly_kaldis(command):
    kaldi = read_archive(command.output)
    ours = {
        utterance: energy_vad(features[:, 0], vad_settings(command))
        for utterance, features in table(command.arguments[0]).items()
    }
    if command.options.get("omit-unvoiced-utts") == "true":
        ours = {utterance: voiced for utterance, voiced in ours.items() if voiced.any()}
    assert set(ours) == set(kaldi)
    for utterance, voiced in ours.items():
        np.testing.assert_array_equal(voiced, kaldi[utterance] != 0)
    assert command.fails == (not any(voiced.any() for voiced in ours.values()))
