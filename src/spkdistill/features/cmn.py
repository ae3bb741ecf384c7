"""Mean (and variance) normalisation as Kaldi's apply-cmvn-sliding or apply-cmvn, then the voiced frames."""

from dataclasses import dataclass

import numpy as np

from spkdistill.arks import ArkReader, ArkWriter
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import write_text, write_tsv
from spkdistill.progress import progress

KINDS = ("sliding", "utterance")
SLIDING_VARIANCE_FLOOR = 1e-10  # Kaldi's
VARIANCE_FLOOR = 1e-20


@dataclass(frozen=True)
class CmnSettings:
    """Kaldi's options of the same names (--cmn-window, --min-cmn-window, --center, --norm-vars)."""

    kind: str  # "sliding": over a window around each frame; "utterance": over all of its frames
    window: int  # frames
    min_window: int  # frames, at the start of an utterance where not centred
    center: bool
    norm_vars: bool
    min_frames: int  # voiced frames that an utterance must have

    def __post_init__(self) -> None:
        """Kaldi's assertion; centred windows, which do not use min_window, must meet it too (ConfigError)."""
        if self.kind not in KINDS:
            raise ConfigError(f"cmn.kind: {self.kind!r} is not allowed; expected one of {', '.join(KINDS)}")
        if not 0 < self.min_window <= self.window:
            limits = f"from 1 to cmn.window ({self.window})"
            raise ConfigError(f"cmn.min_window: {self.min_window} is not allowed; expected {limits}")


def normalise_shard(
    raw_scp: str,
    vad_scp: str,
    settings: CmnSettings,
    compression: str,
    ark: str,
    scp: str,
    num_frames: str,
    rejected: str,
) -> None:
    """Write the voiced frames of each matrix of `raw_scp`, after CMN over all (Kaldi's order).

    `num_frames` gets lines "utterance frames"; utterances without enough voiced frames go to `rejected`.
    """
    counts, refused = [], []
    with ArkReader(raw_scp) as raw, ArkReader(vad_scp) as vad, ArkWriter(ark, scp, compression) as writer:
        for key in progress(raw.keys(), len(raw), "normalise", "utterances"):
            if len(shape := raw.shape(key)) != 2:
                raise DataError(f"{raw_scp}:{key}: shape {shape}, where features (frames, dim) belong")
            voiced = vad[key] != 0 if key in vad else None
            if voiced is not None and voiced.ndim != 1:
                raise DataError(f"{vad_scp}:{key}: shape {voiced.shape}, where one decision a frame belongs")
            reason = refusal(voiced, shape[0], settings.min_frames)
            if reason:
                refused.append([key, reason])
                continue
            writer.write(key, normalise(raw[key], settings)[voiced])
            counts.append(f"{key} {voiced.sum()}\n")
        write_text(num_frames, "".join(counts))
        write_tsv(rejected, ["utterance", "reason"], refused)


def refusal(voiced: np.ndarray | None, frames: int, min_frames: int) -> str | None:
    """Why an utterance of so many frames cannot be used, if it cannot."""
    if voiced is None:
        return "no voice activity decision for it"
    if len(voiced) != frames:
        return f"{frames} frames of features but {len(voiced)} voice activity decisions"
    if voiced.sum() < max(min_frames, 1):
        return f"{voiced.sum()} voiced frames, fewer than {max(min_frames, 1)}"
    return None


def normalise(features: np.ndarray, settings: CmnSettings) -> np.ndarray:
    """Normalised features (frames, dim) float32."""
    if settings.kind == "utterance":
        return apply_cmvn(features, cmvn_stats(features), settings.norm_vars)
    return sliding_cmn(features, settings)


def cmvn_stats(features: np.ndarray) -> np.ndarray:
    """Statistics (2, dim + 1) float64 of features (frames, dim), as Kaldi's compute-cmvn-stats (cmvn.cc).

    The sums and, behind them, the number of frames; below, the sums of squares. Utterances' statistics add up
    to their speaker's.
    """
    values = features.astype(np.float64)
    sums = np.append(values.sum(axis=0), len(values))
    return np.stack([sums, np.append((values**2).sum(axis=0), 0)])


def apply_cmvn(features: np.ndarray, stats: np.ndarray, norm_vars: bool) -> np.ndarray:
    """Features (frames, dim) float32 minus the mean, and over the deviation, of `stats` (Kaldi cmvn.cc)."""
    moments, frames = stats[:, :-1], stats[0, -1]
    mean, mean_square = moments / frames
    normalised = features - mean
    if norm_vars:
        normalised *= np.maximum(mean_square - mean**2, VARIANCE_FLOOR) ** -0.5
    return normalised.astype(np.float32)


def sliding_cmn(features: np.ndarray, settings: CmnSettings) -> np.ndarray:
    """Features (frames, dim) float32 minus the mean, and over the deviation, of the window at each frame.

    Kaldi feature-functions.cc SlidingWindowCmn; sums over windows are differences of cumulative sums.
    """
    first, last = windows(len(features), settings)
    frames = (last - first)[:, None].astype(np.float64)
    values = features.astype(np.float64)
    mean = window_sums(values, first, last) / frames
    normalised = values - mean
    if settings.norm_vars:
        variance = window_sums(values**2, first, last) / frames - mean**2
        normalised *= np.maximum(variance, SLIDING_VARIANCE_FLOOR) ** -0.5
        normalised[last - first == 1] = 0
    return normalised.astype(np.float32)


def windows(frames: int, settings: CmnSettings) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of each frame's window and the one after its last; windows move inward at the ends."""
    frame = np.arange(frames)
    if settings.center:
        start = frame - settings.window // 2
        first = np.maximum(start, 0)
        last = first + settings.window
    else:
        first = np.maximum(frame - settings.window, 0)
        last = np.maximum(frame + 1, settings.min_window)
    overshoot = np.maximum(last - frames, 0)
    return np.maximum(first - overshoot, 0), last - overshoot


def window_sums(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Sums (frames, dim) of the rows first..last-1 of `values`."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return total[last] - total[first]
