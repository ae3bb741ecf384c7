"""MFCC and filterbank features equal to Kaldi's, through torchaudio.compliance.kaldi."""

import numpy as np
import torch
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
    utterances = shard(read_data(data, allow_pipes).utterances, job, jobs)
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
    )
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
    waveform = torch.from_numpy(samples if settings.snip_edges else reflect(samples, settings))[None]
    with torch.inference_mode(), torch.random.fork_rng(devices=[], enabled=settings.dither > 0):
        if settings.dither > 0:
            torch.manual_seed(seed)
        if settings.kind == "mfcc":
            features = kaldi.mfcc(
                waveform,
                **common_options(settings),
                num_ceps=settings.num_ceps,
                cepstral_lifter=settings.cepstral_lifter,
            )
        else:
            features = kaldi.fbank(
                waveform,
                **common_options(settings),
                use_log_fbank=settings.use_log_fbank,
                use_power=settings.use_power,
            )
    return features.numpy()


def common_options(settings: FeatureSettings) -> dict[str, object]:
    """What torchaudio calls the options that MFCC and filterbank share."""
    options = {name: getattr(settings, name) for name in SAME_NAMES}
    return options | {
        "sample_frequency": float(settings.sample_rate),
        "preemphasis_coefficient": settings.preemphasis,
        "snip_edges": True,  # `reflect` has done what false means
    }


def reflect(samples: np.ndarray, settings: FeatureSettings) -> np.ndarray:
    """The samples that the frames of snip_edges=false cover, mirrored at both ends (Kaldi feature-window.cc).

    torchaudio mirrors once and so fails where a signal is shorter than a window; this mirrors over and over.
    """
    window, shift = window_samples(settings), shift_samples(settings)
    first = shift // 2 - window // 2
    last = first + (num_frames(len(samples), settings) - 1) * shift + window
    position = np.arange(first, last) % (2 * len(samples))
    return samples[np.minimum(position, 2 * len(samples) - 1 - position)]
