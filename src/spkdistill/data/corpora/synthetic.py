"""Synthetic speech: drawn voices speak drawn sentences in drawn rooms. Needs no download and no licence.

Every utterance comes from (seed, its id) alone. Speakers differ in vocal tract, larynx, accent and habits;
utterances of one speaker in text, effort, room, microphone and noise. Speakers overlap, so that telling them
apart takes a model.
"""

import io
import wave
from collections.abc import Iterable
from dataclasses import dataclass
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from spkdistill.arks import ArkWriter, read_scp
from spkdistill.data.corpora import Source, espeak
from spkdistill.data.corpora.recording import record
from spkdistill.data.corpora.sentences import sentences
from spkdistill.data.corpora.voices import draw_speaker, vary, voice_file
from spkdistill.data.headers import Headers, write_headers
from spkdistill.data.kaldi import DataDir
from spkdistill.data.trials import DrawSettings
from spkdistill.errors import ConfigError, DataError
from spkdistill.progress import progress
from spkdistill.seeds import generator
from spkdistill.settings import build
from spkdistill.shards import shard

SHORTEST = 0.1  # seconds of an utterance
LETTERS_PER_SECOND = 25  # more than the fastest voice speaks


@dataclass(frozen=True)
class SyntheticSettings:
    """A set of synthetic speakers."""

    corpus: str
    part: str  # speakers of different parts are different
    speakers: int  # half of them female; the first ones are the same however many there are
    utterances: int  # of each speaker
    seconds: tuple[float, float]  # shortest and longest utterance
    snr: tuple[float, float]  # lowest and highest signal-to-noise ratio, dB
    sample_rate: int  # Hz, at most espeak-ng's 22050
    trials: dict[str, Any]  # name -> DrawSettings


def synthesise_shard(
    settings: SyntheticSettings,
    seed: int,
    job: int,
    jobs: int,
    ark: str | Path,
    scp: str | Path,
    headers: str | Path,
) -> None:
    """Write the wave files of a shard of the set's utterances into an archive, and their `headers`."""
    check_ranges(settings)
    utterances = shard(list(utt2spk_of(settings).items()), job, jobs)
    samples_of: Headers = {}
    with ArkWriter(ark, scp) as writer:
        for utterance, speaker in progress(utterances, len(utterances), "synthesise", "utterances"):
            samples = synthesise(utterance, speaker, settings, seed)
            writer.write(utterance, wave_bytes(samples, settings.sample_rate))
            samples_of[utterance] = len(samples)
        write_headers(headers, samples_of)


def synthesise(utterance: str, speaker: str, settings: SyntheticSettings, seed: int) -> np.ndarray:
    """One utterance, (samples,) int16: silence of 0.05 to 0.25 s, speech cut to length, silence."""
    rng = generator(seed, "synthesise", utterance)
    voice = vary(draw_speaker(generator(seed, "voice", speaker), sex_of(speaker)), rng)
    rate = settings.sample_rate
    length, start, end = (
        int(rate * s) for s in (rng.uniform(*settings.seconds), *rng.uniform(0.05, 0.25, 2))
    )
    text = sentences(rng, LETTERS_PER_SECOND * length // rate)
    spoken = espeak.speak(text, voice_file(voice), round(voice.words_per_minute), int(rng.integers(2**31)))
    common = gcd(rate, espeak.SAMPLE_RATE)
    spoken = resample_poly(spoken.astype(float), rate // common, espeak.SAMPLE_RATE // common)
    spoken = spoken[: max(length - start - end, 0)]
    padded = np.zeros(length)
    padded[start : start + len(spoken)] = spoken
    return record(padded, rate, settings.snr, rng)


def load(settings: SyntheticSettings, scps: Iterable[str | Path]) -> Source:
    """The set from the indexes of its shards; DataError unless they hold exactly its utterances."""
    scps, utt2spk = list(scps), utt2spk_of(settings)
    wav = {utterance: place for scp in scps for utterance, place in read_scp(scp).items()}
    if list(wav) != list(utt2spk):
        wrong = min(wav.keys() ^ utt2spk.keys(), default=next(iter(utt2spk)))
        raise DataError(
            f"{' '.join(map(str, scps))}: not the utterances of part {settings.part} (see {wrong}); "
            "synthesise all shards again"
        )
    genders = {speaker: sex_of(speaker) for speaker in utt2spk.values()}
    trials = {name: build(DrawSettings, how, f"trials.{name}") for name, how in settings.trials.items()}
    return Source(DataDir(wav, utt2spk, None, {}, genders), trials=trials)


def utt2spk_of(settings: SyntheticSettings) -> dict[str, str]:
    """The speaker of each utterance, sorted by utterance; ids are like syn-eval-f0003-007."""
    speakers = [f"syn-{settings.part}-{'fm'[i % 2]}{i // 2:04d}" for i in range(settings.speakers)]
    return dict(
        sorted((f"{speaker}-{i:03d}", speaker) for speaker in speakers for i in range(settings.utterances))
    )


def sex_of(speaker: str) -> str:
    """f or m, from a speaker's id."""
    return speaker.rpartition("-")[2][0]


def wave_bytes(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file of one channel of 16-bit `samples`."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def check_ranges(settings: SyntheticSettings) -> None:
    """Refuse ranges that run backwards, lengths of next to nothing, rates above espeak-ng's."""
    for name in ("seconds", "snr"):
        ends = getattr(settings, name)
        if len(ends) != 2 or not all(isinstance(end, int | float) for end in ends):
            raise ConfigError(f"sets.{settings.part}.{name}: expected two numbers, found {list(ends)}")
        if ends[0] > ends[1]:
            raise ConfigError(f"sets.{settings.part}.{name}: the range {ends[0]} to {ends[1]} runs backwards")
    if settings.seconds[0] < SHORTEST:
        raise ConfigError(
            f"sets.{settings.part}.seconds: {settings.seconds[0]} is too short; expected {SHORTEST} at least"
        )
    if settings.sample_rate > espeak.SAMPLE_RATE:
        raise ConfigError(
            f"sets.{settings.part}.sample_rate: {settings.sample_rate} is over {espeak.SAMPLE_RATE}"
        )
