"""Voice activity from energy, as Kaldi's compute-vad decides it."""

from dataclasses import dataclass

import numpy as np

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import ConfigError, DataError
from spkdistill.features.settings import FeatureSettings, check_voiced
from spkdistill.progress import progress


@dataclass(frozen=True)
class VadSettings:
    """Kaldi's --vad-* options."""

    energy_threshold: float
    energy_mean_scale: float  # times the utterance's mean log energy, added to the threshold
    frames_context: int  # frames on each side that vote
    proportion_threshold: float  # share of the votes that makes a frame voiced

    def __post_init__(self) -> None:
        """The ranges that compute-vad asserts (ConfigError)."""
        if self.energy_mean_scale < 0:
            raise ConfigError(f"vad.energy_mean_scale: {self.energy_mean_scale} is below 0")
        if self.frames_context < 0:
            raise ConfigError(f"vad.frames_context: {self.frames_context} is below 0")
        if not 0 < self.proportion_threshold < 1:
            raise ConfigError(f"vad.proportion_threshold: {self.proportion_threshold} is not between 0 and 1")


def vad_shard(raw_scp: str, features: FeatureSettings, settings: VadSettings, ark: str, scp: str) -> None:
    """Write a vector of 0 (silence) and 1 (speech) for each matrix of `raw_scp`, made with `features`."""
    check_voiced(features)
    with ArkReader(raw_scp) as raw, ArkWriter(ark, scp) as writer:
        for key in progress(raw.keys(), len(raw), "vad", "utterances"):
            if len(shape := raw.shape(key)) != 2 or not shape[1]:
                raise DataError(f"{raw_scp}:{key}: shape {shape}, where features (frames, dim) belong")
            writer.write(key, energy_vad(raw[key][:, 0], settings).astype(np.float32))


def energy_vad(log_energy: np.ndarray, settings: VadSettings) -> np.ndarray:
    """Which frames (n,) bool are voiced, from their log energies (n,) (Kaldi voice-activity-detection.cc).

    A frame is voiced where at least the given proportion of the frames around it is above the threshold. The
    comparisons are made in float32, as there.
    """
    frames = len(log_energy)
    mean = np.sum(log_energy, dtype=np.float64) / max(frames, 1)
    threshold = np.float32(settings.energy_threshold + settings.energy_mean_scale * mean)
    above = np.concatenate([[0], np.cumsum(log_energy > threshold)])
    frame = np.arange(frames)
    first = np.maximum(frame - settings.frames_context, 0)
    last = np.minimum(frame + settings.frames_context + 1, frames)
    votes = (above[last] - above[first]).astype(np.float32)
    return votes >= (last - first).astype(np.float32) * np.float32(settings.proportion_threshold)
