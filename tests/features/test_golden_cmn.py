"""Sliding CMN equals Kaldi's apply-cmvn-sliding, and audio becomes the voiced frames that Kaldi selects."""

from pathlib import Path

import kaldiio
import numpy as np
import pytest
from golden_commands import (
    Command,
    cases,
    commands,
    feature_settings,
    read_archive,
    read_input,
    read_table,
    vad_settings,
)

from spkdistill.errors import ConfigError
from spkdistill.features.cmn import CmnSettings, normalise_shard, sliding_cmn
from spkdistill.features.extract import extract_shard
from spkdistill.features.vad import vad_shard

KALDI_DEFAULTS = {"cmn-window": "600", "min-cmn-window": "100", "center": "false", "norm-vars": "false"}
# From Kaldi's own features only the last digits of a float32 differ; from the audio, two builds of Kaldi
# differ in cmvn/sliding300c.ark by 0.0027, of which four times are granted.
FROM_FEATURES = 1e-5
FROM_AUDIO = 4 * 0.0027

pytestmark = pytest.mark.golden


def cmn_settings(command: Command) -> CmnSettings:
    """The settings that mean what an apply-cmvn-sliding command means."""
    options = {**KALDI_DEFAULTS, **command.options}
    return CmnSettings(
        window=int(options["cmn-window"]),
        min_window=int(options["min-cmn-window"]),
        center=options["center"] == "true",
        norm_vars=options["norm-vars"] == "true",
        min_frames=1,
    )


def sliding_commands(fails: bool) -> list[Command]:
    return [c for c in commands("apply-cmvn-sliding") if (c.output == "/dev/null") == fails]


@pytest.mark.parametrize("command", cases(lambda: sliding_commands(fails=False)))
def test_normalised_features_equal_kaldis(command):
    kaldi = read_archive(command.output)
    matrices = read_input(command.arguments[0])
    assert set(kaldi) == set(matrices)
    for utterance, features in matrices.items():
        ours = sliding_cmn(features, cmn_settings(command))
        np.testing.assert_allclose(ours, kaldi[utterance], rtol=0, atol=FROM_FEATURES)


@pytest.mark.parametrize("command", cases(lambda: sliding_commands(fails=True)))
def test_windows_that_fail_kaldis_assertion_are_a_config_error(command):
    with pytest.raises(ConfigError, match=r"cmn\.min_window"):
        cmn_settings(command)


def test_audio_becomes_the_voiced_frames_that_kaldi_selects(golden: Path, tmp_path: Path):
    mfcc = next(c for c in commands("compute-mfcc-feats") if c.output == "feats/mfcc.ark")
    vad = next(c for c in commands("compute-vad") if c.output == "vad/vad.ark")
    cmn = next(c for c in commands("apply-cmvn-sliding") if c.output == "cmvn/sliding300c.ark")
    wav = read_table("data/wav.scp")
    (tmp_path / "wav.scp").write_text("".join(f"{key} {golden / path}\n" for key, path in wav.items()))
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key}\n" for key in wav))
    (tmp_path / "spk2utt").write_text("".join(f"{key} {key}\n" for key in wav))
    at = {name: str(tmp_path / name) for name in ("raw", "vad", "voiced", "frames", "rejected")}

    settings = feature_settings(mfcc)
    extract_shard(
        str(tmp_path), settings, 1, 1, at["raw"] + ".ark", at["raw"] + ".scp", at["rejected"], False, 0
    )
    vad_shard(at["raw"] + ".scp", settings, vad_settings(vad), at["vad"] + ".ark", at["vad"] + ".scp")
    normalise_shard(
        at["raw"] + ".scp",
        at["vad"] + ".scp",
        cmn_settings(cmn),
        "none",
        at["voiced"] + ".ark",
        at["voiced"] + ".scp",
        at["frames"],
        at["rejected"],
    )

    kaldi = read_archive("cmvn/sliding300c-voiced.ark")
    ours = dict(kaldiio.load_scp(at["voiced"] + ".scp").items())
    assert list(ours) == sorted(kaldi)
    for utterance, features in ours.items():
        np.testing.assert_allclose(features, kaldi[utterance], rtol=0, atol=FROM_AUDIO)
    lengths = read_table("cmvn/sliding300c-voiced-num_frames.txt")
    written = dict(line.split() for line in Path(at["frames"]).read_text().splitlines())
    assert written == {key: frames.strip() for key, frames in lengths.items()}
