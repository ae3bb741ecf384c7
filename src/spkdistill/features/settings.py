"""Settings of the features and the frames that follow from them; no torch here, so the import is quick."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from spkdistill.errors import ConfigError
from spkdistill.settings import build

WINDOWS = ("hamming", "hanning", "povey", "rectangular", "blackman", "sine")
LONGEST = 1 << 20  # samples in a frame


@dataclass(frozen=True)
class FeatureSettings:
    """Kaldi's options of the same names; times in ms, frequencies in Hz."""

    kind: str  # "mfcc" or "fbank"
    sample_rate: int
    channel: int  # which of a recording's channels, from 0; -1: only recordings of one channel
    frame_length: float
    frame_shift: float
    num_mel_bins: int
    low_freq: float
    high_freq: float  # at 0 or below: an offset from the Nyquist frequency
    snip_edges: bool  # only frames that fit; otherwise a frame per shift, the signal reflected at its ends
    window_type: str
    preemphasis: float
    remove_dc_offset: bool
    round_to_power_of_two: bool
    use_energy: bool  # log energy: first coefficient of an MFCC, one more before a filterbank
    raw_energy: bool  # before preemphasis and window
    energy_floor: float
    htk_compat: bool  # energy or C0 last
    subtract_mean: bool
    vtln_warp: float
    vtln_low: float
    vtln_high: float  # below 0: an offset from the Nyquist frequency
    num_ceps: int  # mfcc
    cepstral_lifter: float  # mfcc
    use_log_fbank: bool  # fbank
    use_power: bool  # fbank
    delta_order: int  # derivatives that follow the features, each as many coefficients again
    delta_window: int  # frames on each side that a derivative is taken over
    dither: float  # standard deviation of the noise added to each sample, seeded per utterance
    allow_downsample: bool
    allow_upsample: bool
    compression: str  # of the archive, one of arks.COMPRESSIONS

    def __post_init__(self) -> None:
        """Refuse what Kaldi refuses and what torchaudio cannot do (ConfigError)."""
        for field in fields(self):
            value = getattr(self, field.name)
            require(
                not isinstance(value, float) or math.isfinite(value), field.name, value, "a finite number"
            )
        nyquist = self.sample_rate / 2
        high = self.high_freq + nyquist if self.high_freq <= 0 else self.high_freq
        vtln_high = self.vtln_high + nyquist if self.vtln_high < 0 else self.vtln_high
        vtln_order = self.low_freq < self.vtln_low < vtln_high < high
        require(self.kind in ("mfcc", "fbank"), "kind", self.kind, "mfcc or fbank")
        require(self.window_type in WINDOWS, "window_type", self.window_type, f"one of {', '.join(WINDOWS)}")
        require(self.sample_rate > 0, "sample_rate", self.sample_rate, "above 0")
        require(self.channel >= -1, "channel", self.channel, "-1 or more")
        window = f"from 2 to {LONGEST} samples"
        require(2 <= window_samples(self) <= LONGEST, "frame_length", self.frame_length, window)
        even = fft_samples(self) % 2 == 0
        require(even, "frame_length", self.frame_length, "an even number of samples in the FFT")
        require(shift_samples(self) >= 1, "frame_shift", self.frame_shift, "one sample at least")
        bins = f"from 4 to {fft_samples(self) // 2}, half the samples of the FFT"
        require(3 < self.num_mel_bins <= fft_samples(self) // 2, "num_mel_bins", self.num_mel_bins, bins)
        require(0 <= self.low_freq < high, "low_freq", self.low_freq, "from 0 to high_freq")
        require(high <= nyquist, "high_freq", self.high_freq, f"{nyquist:g} (half the sample rate) at most")
        require(0 <= self.preemphasis <= 1, "preemphasis", self.preemphasis, "from 0 to 1")
        require(0 <= self.delta_order < 1000, "delta_order", self.delta_order, "from 0 to 999")
        require(0 < self.delta_window < 1000, "delta_window", self.delta_window, "from 1 to 999")
        require(self.dither >= 0, "dither", self.dither, "0 or more")
        require(self.energy_floor >= 0, "energy_floor", self.energy_floor, "0 or more")
        require(self.vtln_warp > 0, "vtln_warp", self.vtln_warp, "above 0")
        limits = "low_freq < vtln_low < vtln_high < high_freq"
        require(self.vtln_warp == 1 or vtln_order, "vtln_low", self.vtln_low, limits)
        filled = bins_filled(self, high)
        require(filled, "num_mel_bins", self.num_mel_bins, "fewer: a bin holds no frequency of the FFT")
        ceps_fit = self.kind == "fbank" or 1 <= self.num_ceps <= self.num_mel_bins
        require(ceps_fit, "num_ceps", self.num_ceps, f"from 1 to num_mel_bins ({self.num_mel_bins})")


def configured(settings: Mapping[str, Any]) -> FeatureSettings:
    """The settings of a kind of features in a config, where `cmn` stands beside them, for any channel."""
    return build(
        FeatureSettings,
        {key: value for key, value in settings.items() if key != "cmn"} | {"channel": -1},
        "features",
    )


def check_voiced(settings: FeatureSettings) -> None:
    """ConfigError unless voice activity can be told from the first coefficient."""
    if not settings.use_energy or settings.htk_compat:
        raise ConfigError(
            "vad.features: voice activity needs features with use_energy and without htk_compat"
        )


def require(condition: bool, name: str, value: object, allowed: str) -> None:
    """ConfigError that names the setting unless `condition` holds."""
    if not condition:
        raise ConfigError(f"features.{name}: {value!r} is not allowed; expected {allowed}")


def bins_filled(settings: FeatureSettings, high: float) -> bool:
    """Whether every mel bin up to `high` Hz holds a frequency of the FFT (Kaldi mel-computations.cc)."""
    size = fft_samples(settings)
    frequencies = np.arange(size // 2) * settings.sample_rate / size
    edges = np.linspace(mel(settings.low_freq), mel(high), settings.num_mel_bins + 2)
    above_left = np.searchsorted(mel(frequencies), edges[:-2], "right")
    below_right = np.searchsorted(mel(frequencies), edges[2:], "left")
    return bool((above_left < below_right).all())


def mel(frequency: float | np.ndarray) -> float | np.ndarray:
    """Hz on the mel scale."""
    return 1127 * np.log(1 + np.asarray(frequency) / 700)


def num_frames(samples: int, settings: FeatureSettings) -> int:
    """Frames of a signal (Kaldi feature-window.cc NumFrames)."""
    window, shift = window_samples(settings), shift_samples(settings)
    if settings.snip_edges:
        return max(0, 1 + (samples - window) // shift)
    return (samples + shift // 2) // shift


def window_samples(settings: FeatureSettings) -> int:
    """Samples in a frame."""
    return int(settings.sample_rate * settings.frame_length * 0.001)


def feature_dim(settings: FeatureSettings) -> int:
    """Coefficients of a frame, derivatives included."""
    mfcc = settings.kind == "mfcc"
    own = settings.num_ceps if mfcc else settings.num_mel_bins + settings.use_energy
    return own * (1 + settings.delta_order)


def fft_samples(settings: FeatureSettings) -> int:
    """Samples of a frame with the zeros after it."""
    window = window_samples(settings)
    return 1 << (window - 1).bit_length() if settings.round_to_power_of_two else window


def shift_samples(settings: FeatureSettings) -> int:
    """Samples from one frame to the next."""
    return int(settings.sample_rate * settings.frame_shift * 0.001)
