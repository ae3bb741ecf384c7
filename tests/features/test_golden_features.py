"""Features equal those of Kaldi's compute-mfcc-feats and compute-fbank-feats, and fail where those fail."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from golden_commands import (
    GOLDEN,
    KINDS,
    Command,
    cases,
    commands,
    feature_settings,
    read_archive,
    read_table,
)

from spkdistill import audio
from spkdistill.errors import ConfigError, DataError
from spkdistill.features.extract import compute
from spkdistill.features.settings import FeatureSettings

# The greatest difference between two builds of Kaldi, its 99.9 % quantile over a file (README of the golden
# files), and how many times that is granted.
KALDI_AGAINST_ITSELF = {
    "feats/mfcc": (0.0028, 0.00081),
    "feats/fbank80": (0.0025, 0.00017),
    "feats/fbank40": (0.00095, 0.0001),
    "mfcc": (0.0011, 0.00097),
    "fbank": (0.00016, 8.2e-05),
}
TIMES = 4
# Above 4 kHz an upsampled signal is nearly silent, so the rounding of Kaldi's float32 resampler shows.
TIMES_UPSAMPLED = 10

pytestmark = pytest.mark.golden


def with_archive() -> list[Command]:
    return [
        command
        for command in commands(*KINDS)
        if not command.then and "--channel" not in command.options and (GOLDEN / command.output).is_file()
    ]


def stereo(command: Command) -> bool:
    return command.arguments[0] == "scp:data/stereo.scp"


def offered(command: Command) -> bool:
    return command.options.get("window-type") != "sine"


def wav_scp(command: Command) -> dict[str, str]:
    locations = read_table(command.arguments[0].removeprefix("scp:"))
    return {utterance: str(GOLDEN / location) for utterance, location in locations.items()}


def features(location: str, settings: FeatureSettings) -> np.ndarray:
    samples = audio.read(
        location, None, settings.sample_rate, False, settings.allow_downsample, settings.allow_upsample
    )
    return compute(samples, settings)


def assert_equals_kaldi(ours: dict[str, np.ndarray], command: Command) -> None:
    kaldi = read_archive(command.output)
    assert {key: matrix.shape for key, matrix in ours.items()} == {key: kaldi[key].shape for key in ours}
    values = np.concatenate([ours[key].ravel() for key in ours])
    expected = np.concatenate([kaldi[key].ravel() for key in ours])
    assert values.dtype == np.float32
    if "use-log-fbank" in command.options:  # relative, then, as the README gives no figure
        values, expected = np.log(values), np.log(expected)
    name = command.output.removesuffix(".ark")
    greatest, quantile = KALDI_AGAINST_ITSELF.get(name, KALDI_AGAINST_ITSELF[KINDS[command.tool][0]])
    times = TIMES_UPSAMPLED if "allow-upsample" in command.options else TIMES
    difference = np.abs(values - expected)
    assert difference.max() <= times * greatest
    assert np.quantile(difference, 0.999) <= times * quantile


@pytest.mark.parametrize(
    "command", cases(lambda: [c for c in with_archive() if not stereo(c) and offered(c)])
)
def test_features_equal_kaldis_and_what_kaldi_left_empty_is_refused(command):
    settings = feature_settings(command)
    kaldi = read_archive(command.output)
    ours = {}
    for utterance, location in wav_scp(command).items():
        if utterance in kaldi and kaldi[utterance].size:
            ours[utterance] = features(location, settings)
        else:
            with pytest.raises(DataError, match="too short"):
                features(location, settings)
    assert_equals_kaldi(ours, command)


@pytest.mark.parametrize("command", cases(lambda: [c for c in with_archive() if stereo(c)]))
def test_stereo_is_refused_and_each_channel_alone_gives_kaldis_features(command):
    settings = feature_settings(command)
    channel = int(command.options.get("channel", "0"))
    for utterance, location in wav_scp(command).items():
        with pytest.raises(DataError, match="2 channels"):
            features(location, settings)
        samples = soundfile.read(location, dtype="int16")[0][:, channel].astype(np.float32)
        assert_equals_kaldi({utterance: compute(samples, settings)}, command)


@pytest.mark.parametrize("command", cases(lambda: [c for c in commands(*KINDS) if not offered(c)]))
def test_a_window_that_torchaudio_lacks_is_a_config_error_that_names_it(command):
    with pytest.raises(ConfigError, match=r"features\.window_type: 'sine'"):
        feature_settings(command)


@pytest.mark.parametrize("command", cases(lambda: [c for c in commands(*KINDS) if "fails" in c.output]))
def test_a_sample_rate_that_kaldi_refuses_is_refused(command):
    settings = feature_settings(command)
    for location in wav_scp(command).values():
        with pytest.raises(DataError, match="Hz, but the features are set up for"):
            features(location, settings)


def test_recordings_have_the_duration_that_kaldi_finds(golden: Path):
    durations = read_table("feats/reco2dur")
    for recording, location in read_table("data/wav.scp").items():
        rate, samples, channels = audio.info(str(golden / location))
        assert channels == 1
        assert samples / rate == pytest.approx(float(durations[recording]), abs=1e-4)
