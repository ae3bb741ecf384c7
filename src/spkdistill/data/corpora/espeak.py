"""espeak-ng as a function of text and a voice file: the library inside the wheel of espeakng-loader."""

import _ctypes
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

import espeakng_loader
import numpy as np

from spkdistill.errors import DataError

SAMPLE_RATE = 22050

# Constants of espeak-ng's speak_lib.h
AUDIO_OUTPUT_SYNCHRONOUS = 2
INITIALIZE_DONT_EXIT = 0x8000
POS_CHARACTER = 1
CHARS_UTF8 = 1
RATE = 1

SamplesCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def speak(text: str, voice: str, words_per_minute: int, seed: int) -> np.ndarray:
    """`text` spoken by `voice`, the text of an espeak-ng voice file: (samples,) int16 at `SAMPLE_RATE`.

    The library is loaded anew each time, because it carries the phase of flutter and roughness from one text
    to the next; so the samples depend on the arguments alone. Voice files: docs/voices.md of espeak-ng.
    """
    chunks: list[bytes] = []

    @SamplesCallback
    def collect(samples: int | None, count: int, _events: int) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    encoded = text.encode()
    with fresh_library() as library, NamedTemporaryFile("w", suffix=".voice") as file:
        file.write(voice)
        file.flush()
        library.espeak_SetSynthCallback(collect)
        if library.espeak_SetVoiceByFile(file.name.encode()) != 0:
            raise DataError(
                f"{file.name}: espeak-ng does not load this voice; set TMPDIR to a path of under 40 letters"
            )
        library.espeak_SetParameter(RATE, words_per_minute, 0)
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        size = ctypes.c_size_t(len(encoded) + 1)
        if library.espeak_Synth(encoded, size, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None) != 0:
            raise DataError(f"{espeakng_loader.get_library_path()}: espeak-ng cannot speak {text!r}")
    return np.frombuffer(b"".join(chunks), dtype="<i2")


@contextmanager
def fresh_library() -> Iterator[ctypes.CDLL]:
    """The library with its variables as they are at load, unloaded again at the end."""
    path, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    library = ctypes.CDLL(path)
    try:
        rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, data.encode(), INITIALIZE_DONT_EXIT)
        if rate != SAMPLE_RATE:
            raise DataError(f"{data}: espeak-ng does not start with this data; reinstall espeakng-loader")
        yield library
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
