"""MFCC and filterbank features equal to Kaldi's, through torchaudio.compliance.kaldi, and their deltas."""

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import correlate1d
from torchaudio.compliance import kaldi

from spkdistill import audio
from spkdistill.arks import ArkWriter
from spkdistill.data.kaldi import Utterance
from spkdistill.data.kaldi import read as read_data
from spkdistill.errors import DataError
from spkdistill.features.settings import FeatureSettings, num_frames, shift_samples, window_samples
from spkdistill.files import write_tsv
from spkdistill.progress import progress
from spkdistill.seeds import derive_seed
from spkdistill.shards import shard

SAME_NAMES = (
    *("frame_length", "frame_shift", "window_type", "remove_dc_offset", "round_to_power_of_two", "dither"),
    *("num_mel_bins", "low_freq", "high_freq", "vtln_warp", "vtln_low", "vtln_high"),
    *("use_energy", "raw_energy", "energy_floor", "htk_compat", "subtract_mean"),
)


def extract_shard(
    data: str,
    settings: FeatureSettings,
    job: int,
    jobs: int,
    ark: str,
    scp: str,
    rejected: str,
    allow_pipes: bool,
    seed: int,
) -> None:
    """Write the features of a shard of the data directory `data`; audio that is no use goes to `rejected`."""
    torch.set_num_threads(1)
    contents = read_data(data, allow_pipes)
    utterances = [contents.utterance(id) for id in shard(list(contents.utt2spk), job, jobs)]
    del contents  # a shard is small beside it
    refused = []
    with ArkWriter(ark, scp, settings.compression) as writer:
        for utterance in progress(utterances, len(utterances), "features", "utterances"):
            try:
                features = utterance_features(utterance, settings, allow_pipes, seed)
            except DataError as error:
                refused.append([utterance.id, " ".join(str(error).split())])
            else:
                writer.write(utterance.id, features)
        write_tsv(rejected, ["utterance", "reason"], refused)


def utterance_features(
    utterance: Utterance, settings: FeatureSettings, allow_pipes: bool, seed: int
) -> np.ndarray:
    """Features (frames, dim) float32 of one utterance; DataError where they cannot be computed."""
    samples = audio.read(
        utterance.location,
        utterance.segment,
        settings.sample_rate,
        allow_pipes,
        settings.allow_downsample,
        settings.allow_upsample,
        settings.channel,
    )
    samples = audio.at_speed(samples, utterance.speed)
    features = compute(samples, settings, derive_seed(seed, "features", utterance.id))
    if not np.isfinite(features).all():
        peak = np.abs(samples).max() / audio.INT16_SCALE
        raise DataError(
            f"{utterance.location}: its features are NaN or infinite (peak {peak:.3g} of full scale)"
        )
    return features


def compute(samples: np.ndarray, settings: FeatureSettings, seed: int = 0) -> np.ndarray:
    """Features (frames, dim) float32 of samples (n,) float32 on the int16 scale; `seed` is the dither's.

    DataError where the samples are too few for a frame.
    """
    if num_frames(len(samples), settings) == 0:
        raise DataError(f"{len(samples)} samples are too short for a frame of {window_samples(settings)}")
    waveform = torch.from_numpy(samples if settings.snip_edges else reflect(samples, settings))
    with torch.inference_mode(), torch.random.fork_rng(devices=[], enabled=settings.dither > 0):
        if settings.dither > 0:
            torch.manual_seed(seed)
        if settings.window_type == "sine":
            features = windowed_here(waveform, settings, sine_window(window_samples(settings)))
        else:
            features = through_torchaudio(waveform, settings)
    return add_deltas(features.numpy(), settings.delta_order, settings.delta_window)


def through_torchaudio(waveform: torch.Tensor, settings: FeatureSettings) -> torch.Tensor:
    """Features (frames, dim) of the frames that fit into a waveform (n,)."""
    if settings.kind == "mfcc":
        return kaldi.mfcc(
            waveform[None],
            **common_options(settings),
            num_ceps=settings.num_ceps,
            cepstral_lifter=settings.cepstral_lifter,
        )
    return kaldi.fbank(
        waveform[None],
        **common_options(settings),
        use_log_fbank=settings.use_log_fbank,
        use_power=settings.use_power,
    )


def common_options(settings: FeatureSettings) -> dict[str, object]:
    """What torchaudio calls the options that MFCC and filterbank share."""
    options = {name: getattr(settings, name) for name in SAME_NAMES}
    return options | {
        "sample_frequency": float(settings.sample_rate),
        "preemphasis_coefficient": settings.preemphasis,
        "snip_edges": True,  # `reflect` has done what false means
    }


def windowed_here(waveform: torch.Tensor, settings: FeatureSettings, window: torch.Tensor) -> torch.Tensor:
    """Features (frames, dim) under a window that torchaudio lacks, by the steps of Kaldi's feature-window.cc.

    The finished frames are given to torchaudio end to end, for it to cut there and leave as they are.
    """
    frames = waveform.unfold(0, len(window), shift_samples(settings))
    if settings.dither > 0:
        frames = frames + settings.dither * torch.randn(frames.shape)
    if settings.remove_dc_offset:
        frames = frames - frames.mean(dim=1, keepdim=True)
    sample_before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    windowed = (frames - settings.preemphasis * sample_before) * window
    finished = replace(
        settings,
        window_type="rectangular",
        frame_shift=settings.frame_length,
        dither=0.0,
        remove_dc_offset=False,
        preemphasis=0.0,
    )
    features = through_torchaudio(windowed.flatten(), finished)
    if settings.use_energy and settings.raw_energy:
        energy = log_energy(frames, settings.energy_floor)
        if settings.subtract_mean:
            energy -= energy.mean()
        features[:, -1 if settings.htk_compat else 0] = energy
    return features


def sine_window(samples: int) -> torch.Tensor:
    """Half a period of a sine, zero at both ends."""
    return torch.sin(torch.arange(samples) * (math.pi / (samples - 1)))


def log_energy(frames: torch.Tensor, floor: float) -> torch.Tensor:
    """The log energy of each frame, no less than that of `floor`."""
    return frames.square().sum(dim=1).clamp(min=max(floor, torch.finfo(torch.float32).eps)).log()


def add_deltas(features: np.ndarray, order: int, window: int) -> np.ndarray:
    """Features (frames, dim) and their derivatives (frames, dim * (1 + order)), as Kaldi's add-deltas.

    A derivative is the slope of the line through 2 * `window` + 1 frames; the first and last frame go on
    beyond the ends (Kaldi feature-functions.cc DeltaFeatures).
    """
    offset = np.arange(-window, window + 1)
    slope = offset / np.sum(offset**2)
    taps = [np.ones(1)]
    for _ in range(order):
        taps.append(np.convolve(taps[-1], slope))
    return np.hstack([features, *(correlate1d(features, each, 0, mode="nearest") for each in taps[1:])])


def reflect(samples: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """The samples that the frames of snip_edges=false cover, mirrored at both ends (Kaldi feature-window.cc).

    torchaudio mirrors once and so fails where a signal is shorter than a window; this mirrors over and over.
    """
    window, shift = window_samples(settings), shift_samples(settings)
    first = shift // 2 - window // 2
    last = first + (num_frames(len(samples), settings) - 1) * shift + window
    position = np.arange(first, last) % (2 * len(samples))
    return samples[np.minimum(position, 2 * len(samples) - 1 - position)]
