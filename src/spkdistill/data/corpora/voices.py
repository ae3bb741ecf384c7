"""Voices for espeak-ng: a speaker is a drawn tract, larynx and accent; an utterance varies around it."""

from dataclasses import dataclass
from pathlib import Path

import espeakng_loader
import numpy as np

ACCENTS = (
    "en",
    "en-029",
    "en-GB-scotland",
    "en-GB-x-gbclan",
    "en-GB-x-gbcwmd",
    "en-GB-x-rp",
    "en-US",
    "en-US-nyc",
)

# Medians of fundamental frequency (Hz) and of formants relative to espeak-ng's default (male) voice, by sex;
# deviations are of logarithms. Women's formants are some 15 % higher (Peterson and Barney 1952).
MEDIAN_PITCH = {"m": 112.0, "f": 200.0}
MEDIAN_TRACT = {"m": 1.0, "f": 1.14}
PITCH_DEVIATION = 0.13
TRACT_DEVIATION = 0.035
FORMANTS = 9  # formants 0 to 8 of a voice file


@dataclass(frozen=True)
class Voice:
    """One way of speaking, in the units of an espeak-ng voice file."""

    accent: str
    pitch: float  # Hz
    pitch_range: float  # highest pitch over lowest, less 1
    frequencies: np.ndarray  # (FORMANTS,) relative to the default voice
    strengths: np.ndarray  # (FORMANTS,)
    widths: np.ndarray  # (FORMANTS,)
    tone: np.ndarray  # (4,) amplitude of voiced sounds at 600, 1200, 2000 and 3500 Hz, 0 to 255
    breath: float
    roughness: float
    flutter: float
    voicing: float
    consonants: float
    words_per_minute: float


def draw_speaker(rng: np.random.Generator, sex: str) -> Voice:
    """The voice of a speaker of a sex, f or m."""
    tract = MEDIAN_TRACT[sex] * np.exp(rng.normal(0, TRACT_DEVIATION))
    return Voice(
        accent=ACCENTS[rng.integers(len(ACCENTS))],
        pitch=MEDIAN_PITCH[sex] * np.exp(rng.normal(0, PITCH_DEVIATION)),
        pitch_range=rng.uniform(0.3, 0.7),
        frequencies=tract * np.exp(rng.normal(0, 0.025, FORMANTS)),
        strengths=np.exp(rng.normal(0, 0.2, FORMANTS)),
        widths=np.exp(rng.normal(0.1, 0.15, FORMANTS)),
        tone=np.array([175, 140, 115, 105]) * np.exp(rng.normal(0, 0.15, 4)),
        breath=max(0.0, rng.normal(2, 3)),
        roughness=rng.uniform(0, 4),
        flutter=rng.uniform(2, 10),
        voicing=100 * np.exp(rng.normal(0, 0.1)),
        consonants=90 * np.exp(rng.normal(0, 0.2)),
        words_per_minute=rng.uniform(150, 200),
    )


def vary(voice: Voice, rng: np.random.Generator) -> Voice:
    """The same speaker in another utterance: pitch, effort, rate and articulation drift."""
    effort = rng.normal(0, 0.08)
    return Voice(
        accent=voice.accent,
        pitch=voice.pitch * np.exp(rng.normal(0, 0.07) + 0.5 * effort),
        pitch_range=voice.pitch_range * np.exp(rng.normal(0, 0.2)),
        frequencies=voice.frequencies * np.exp(rng.normal(0, 0.012, FORMANTS)),
        strengths=voice.strengths * np.exp(rng.normal(0, 0.1, FORMANTS)),
        widths=voice.widths * np.exp(rng.normal(0, 0.08, FORMANTS)),
        tone=voice.tone * np.exp(effort * np.array([-1.0, 0.0, 1.0, 1.5]) + rng.normal(0, 0.04, 4)),
        breath=max(0.0, voice.breath + rng.normal(0, 1)),
        roughness=voice.roughness,
        flutter=voice.flutter,
        voicing=voice.voicing * np.exp(rng.normal(0, 0.05)),
        consonants=voice.consonants * np.exp(rng.normal(0, 0.1)),
        words_per_minute=voice.words_per_minute * np.exp(rng.normal(0, 0.06)),
    )


def voice_file(voice: Voice) -> str:
    """An espeak-ng voice file: the accent's own, then the lines of the voice, which override it."""
    accent = Path(espeakng_loader.get_data_path(), "lang", "gmw", voice.accent).read_text(encoding="utf-8")
    percent = np.rint(100 * np.stack([voice.frequencies, voice.strengths, voice.widths], axis=1)).astype(int)
    tone = np.clip(np.rint(voice.tone), 0, 255).astype(int)
    lines = [
        f"pitch {voice.pitch / (1 + voice.pitch_range / 2):.0f} "
        f"{voice.pitch * (1 + voice.pitch_range) / (1 + voice.pitch_range / 2):.0f}",
        *(
            f"formant {n} {frequency} {strength} {width}"
            for n, (frequency, strength, width) in enumerate(percent)
        ),
        "tone "
        + " ".join(f"{hertz} {level}" for hertz, level in zip((600, 1200, 2000, 3500), tone, strict=True)),
        "breath 0 " + " ".join([f"{voice.breath:.0f}"] * 5),
        f"roughness {voice.roughness:.0f}",
        f"flutter {voice.flutter:.0f}",
        f"voicing {voice.voicing:.0f}",
        f"consonants {voice.consonants:.0f} {voice.consonants:.0f}",
    ]
    return accent + "\n" + "\n".join(lines) + "\n"
