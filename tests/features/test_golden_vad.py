"""Voice activity equals that of Kaldi's compute-vad, frame by frame."""

import numpy as np
import pytest
from golden_commands import cases, commands, read_archive, read_input, vad_settings

from spkdistill.features.vad import energy_vad

pytestmark = pytest.mark.golden


@pytest.mark.parametrize("command", cases(lambda: commands("compute-vad")))
def test_voiced_frames_are_exactly_kaldis(command):
    kaldi = read_archive(command.output)
    assert kaldi
    for utterance, features in read_input(command.arguments[0]).items():
        voiced = energy_vad(features[:, 0], vad_settings(command))
        if utterance in kaldi:
            np.testing.assert_array_equal(voiced, kaldi[utterance] != 0)
        else:
            assert command.options["omit-unvoiced-utts"] == "true"
            assert not voiced.any()
