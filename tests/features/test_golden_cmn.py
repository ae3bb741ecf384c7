"""CMN equals Kaldi's apply-cmvn-sliding and apply-cmvn; audio becomes the frames that Kaldi selects."""

from pathlib import Path

import kaldiio
import numpy as np
import pytest
from golden_tools import cmn_settings, feature_settings, run, table, vad_settings

from golden_commands import GOLDEN, Command, cases, commands, parse, read_archive, read_table
from spkdistill.arks import write_archive
from spkdistill.errors import ConfigError
from spkdistill.features.cmn import CmnSettings, normalise_shard
from spkdistill.features.extract import extract_shard
from spkdistill.features.vad import vad_shard
from spkdistill.files import read_tsv

# From Kaldi's own features only the rounding of float32 differs, in steps of 1.5e-5 for values up to 256;
# text has seven digits. From the audio, two builds of Kaldi differ in cmvn/sliding300c.ark by 0.0027, and
# four times that is granted.
FROM_FEATURES = 3e-5
TEXT = 1e-6
FROM_AUDIO = 4 * 0.0027

pytestmark = pytest.mark.golden


@pytest.mark.parametrize(
    "command",
    cases(lambda: [c for c in commands("apply-cmvn-sliding", "apply-cmvn") if not c.fails]),
)
def test_normalised_features_equal_kaldis(command):
    kaldi = read_archive(command.output)
    ours = run(command)
    assert set(kaldi) == set(ours)
    for utterance, features in ours.items():
        np.testing.assert_allclose(features, kaldi[utterance], rtol=0, atol=FROM_FEATURES)


@pytest.mark.parametrize("command", cases(lambda: commands("compute-cmvn-stats")))
def test_statistics_of_utterances_and_speakers_equal_kaldis(command):
    kaldi = read_archive(command.output)
    ours = run(command)
    assert set(kaldi) == set(ours)
    for key, stats in ours.items():
        np.testing.assert_allclose(stats, kaldi[key], rtol=TEXT)


@pytest.mark.parametrize("command", cases(lambda: [c for c in commands("apply-cmvn-sliding") if c.fails]))
def test_windows_that_fail_kaldis_assertion_are_a_config_error(command):
    with pytest.raises(ConfigError, match=r"cmn\.min_window"):
        cmn_settings(command)


def selected(raw_scp: str, vad_scp: str, settings: CmnSettings, folder: Path) -> tuple[dict, dict, dict]:
    """The voiced frames, their numbers and the reasons of what is left out, by the stage `normalise`."""
    ark, scp, counts, rejected = (str(folder / name) for name in ("v.ark", "v.scp", "frames", "rejected"))
    normalise_shard(raw_scp, vad_scp, settings, "none", ark, scp, counts, rejected)
    frames = dict(line.split() for line in Path(counts).read_text().splitlines())
    reasons = dict(read_tsv(rejected, ["utterance", "reason"]))
    return dict(kaldiio.load_scp(scp).items()), frames, reasons


def sliding(specifier: str) -> Command:
    """The apply-cmvn-sliding command whose output this is: a pipe, or what another command wrote."""
    if specifier.endswith("|"):
        return parse(specifier.removeprefix("ark:").rstrip("| "))
    written = specifier.split(":", 1)[1]
    return next(c for c in commands("apply-cmvn-sliding") if written in c.arguments[-1].split(","))


@pytest.mark.parametrize("command", cases(lambda: commands("select-voiced-frames")))
def test_voiced_frames_are_those_that_kaldi_selects(command, tmp_path, monkeypatch):
    monkeypatch.chdir(GOLDEN)  # Kaldi's scp files hold relative paths
    features, decisions, _ = command.arguments
    write_archive(f"ark,scp:{tmp_path / 'vad.ark'},{tmp_path / 'vad.scp'}", table(decisions).items())
    cmn = sliding(features)
    raw = cmn.arguments[0].removeprefix("scp:")
    ours, frames, reasons = selected(raw, str(tmp_path / "vad.scp"), cmn_settings(cmn), tmp_path)
    kaldi = {} if command.fails else read_archive(command.output)
    assert set(ours) == set(kaldi)
    assert frames == {key: str(len(matrix)) for key, matrix in kaldi.items()}
    for utterance, matrix in ours.items():
        np.testing.assert_allclose(matrix, kaldi[utterance], rtol=0, atol=FROM_FEATURES)
    assert reasons == {key: "0 voiced frames, fewer than 1" for key in read_table(raw) if key not in kaldi}


def test_audio_becomes_the_voiced_frames_that_kaldi_selects(golden: Path, tmp_path: Path):
    mfcc = next(c for c in commands("compute-mfcc-feats") if c.output == "feats/mfcc.ark")
    vad = next(c for c in commands("compute-vad") if c.output == "vad/vad.ark")
    cmn = next(c for c in commands("apply-cmvn-sliding") if c.output == "cmvn/sliding300c.ark")
    wav = read_table("data/wav.scp")
    (tmp_path / "wav.scp").write_text("".join(f"{key} {golden / path}\n" for key, path in wav.items()))
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key}\n" for key in wav))
    (tmp_path / "spk2utt").write_text("".join(f"{key} {key}\n" for key in wav))
    raw, voiced = str(tmp_path / "raw"), str(tmp_path / "vad")

    settings = feature_settings(mfcc)
    extract_shard(str(tmp_path), settings, 1, 1, f"{raw}.ark", f"{raw}.scp", f"{raw}.tsv", False, 0)
    vad_shard(f"{raw}.scp", settings, vad_settings(vad), f"{voiced}.ark", f"{voiced}.scp")
    ours, frames, _ = selected(f"{raw}.scp", f"{voiced}.scp", cmn_settings(cmn), tmp_path)

    kaldi = read_archive("cmvn/sliding300c-voiced.ark")
    assert list(ours) == sorted(kaldi)
    for utterance, features in ours.items():
        np.testing.assert_allclose(features, kaldi[utterance], rtol=0, atol=FROM_AUDIO)
    assert frames == read_table("cmvn/sliding300c-voiced-num_frames.txt")
