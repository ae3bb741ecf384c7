"""How a voice reaches the recording: a room, a microphone, noise and a level, drawn anew for each session."""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import fftconvolve

NOISES = ("white", "pink", "rumble", "hum", "babble")


def record(speech: np.ndarray, rate: int, snr: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """`speech`, (samples,), as recorded in one session: (samples,) int16.

    `snr` is the range of signal-to-noise ratios in dB. The same generator state gives the same recording.
    """
    heard = fftconvolve(speech, impulse_response(rate, rng))[: len(speech)]
    noise = draw_noise(len(speech), rate, rng)
    noise *= rms(heard) / rms(noise) * 10 ** (-rng.uniform(*snr) / 20)
    recorded = equalise(heard + noise, rate, rng)
    level = 32768 * 10 ** (rng.uniform(-32, -20) / 20)
    return np.clip(np.rint(recorded * level / rms(recorded)), -32768, 32767).astype("<i2")


def impulse_response(rate: int, rng: np.random.Generator) -> np.ndarray:
    """A room: direct sound and, 8 to 20 dB below, a tail of noise that decays 60 dB in 0.1 to 0.4 s."""
    decay = rng.uniform(0.1, 0.4)
    seconds = np.arange(1, int(decay * rate)) / rate
    tail = rng.standard_normal(len(seconds)) * 10 ** (-3 * seconds / decay)
    tail *= 10 ** (-rng.uniform(8, 20) / 20) / np.sqrt(np.sum(tail**2))
    return np.concatenate([[1.0], tail])


def draw_noise(samples: int, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of a drawn kind, (samples,)."""
    kind = NOISES[rng.integers(len(NOISES))]
    size = next_fast_len(samples, real=True)
    spectrum = rfft(rng.standard_normal(size))
    hertz = np.maximum(rfftfreq(size, 1 / rate), 20)
    slope = {"white": 0, "pink": -0.5, "rumble": -1, "hum": -0.5, "babble": -0.75}[kind]
    noise = irfft(spectrum * (hertz / 1000) ** slope, size)[:samples]
    seconds = np.arange(samples) / rate
    if kind == "hum":
        harmonics = rng.choice([50.0, 60.0]) * np.arange(1, 6)
        waves = np.sin(2 * np.pi * (np.outer(harmonics, seconds) + rng.uniform(0, 1, (5, 1))))
        noise += 2 * rms(noise) * rng.uniform(0, 1, 5) @ waves
    if (
        kind == "babble"
    ):  # syllables of many talkers: a spectrum like speech's, swelling 3 to 5 times a second
        noise *= 1 + 0.6 * np.sin(2 * np.pi * (rng.uniform(3, 5) * seconds + rng.uniform()))
    return noise


def equalise(signal: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A microphone: gains of 3.5 dB deviation at ten frequencies, smooth between, and little bass."""
    size = next_fast_len(len(signal), real=True)
    hertz = np.maximum(rfftfreq(size, 1 / rate), 1)
    points = np.geomspace(60, rate / 2, 10)
    decibels = np.interp(np.log(hertz), np.log(points), rng.normal(0, 3.5, 10))
    decibels -= 10 * np.log10(1 + (rng.uniform(50, 150) / hertz) ** 4)
    return irfft(rfft(signal, size) * 10 ** (decibels / 20), size)[: len(signal)]


def rms(signal: np.ndarray) -> float:
    """Root mean square, never zero."""
    return float(np.sqrt(np.mean(signal**2)) + 1e-9)
