"""Recordings as Kaldi sees them: one channel of float32 samples on the scale of 16-bit integers.

A location is what stands in wav.scp: "path" to a file in any format of libsndfile, "wav.ark:offset" of a WAV
or FLAC file inside an archive, or "command |". Segments are cut as Kaldi's extract-segments cuts them.
"""

import io
import os
import re
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
import soundfile

from spkdistill.errors import DataError

INT16_SCALE = 32768.0
STREAMED = (
    0,
    0x7FFFF000,
    0xFFFFFFFF,
)  # sizes that a writer who could not seek leaves in a header (wave-reader.cc)
MIN_SEGMENT = 0.1  # seconds; the defaults of extract-segments
MAX_OVERSHOOT = 0.5
BLOCK = 1 << 20  # samples of each channel decoded at a time
MAX_STREAM = 1 << 30  # bytes of a WAV file whose header has no size, of which a copy is made
MAX_SAMPLES = 1 << 28  # read at a time: four and a half hours at 16 kHz, a gigabyte


def read(
    location: str,
    segment: tuple[float, float] | None,
    expected_rate: int,
    allow_pipes: bool = False,
    allow_downsample: bool = False,
    allow_upsample: bool = False,
    channel: int = -1,
) -> np.ndarray:
    """Samples (n,) float32 in -32768..32767 of a recording, or of its `segment` (start, end) in seconds.

    An end of -1 is the end of the recording; `channel` counts from 0, and -1 is the only one. DataError for a
    recording that is missing, damaged, truncated, empty, not finite, without that channel, or of another rate
    than `expected_rate` where resampling is not allowed.
    """
    with open_sound(location, allow_pipes) as sound:
        rate = sound.samplerate
        if fault := channel_fault(sound.channels, channel):
            raise DataError(f"{location}: {fault}")
        if not (rate == expected_rate or (allow_downsample if rate > expected_rate else allow_upsample)):
            raise DataError(f"{location}: {rate} Hz, but the features are set up for {expected_rate} Hz")
        first, last = segment_range(segment, rate, sound.frames, location) if segment else (0, sound.frames)
        samples = decode(sound, first, last - first, channel, location)
    return samples if rate == expected_rate else resample(samples, rate, expected_rate)


def channel_fault(channels: int, channel: int) -> str | None:
    """Why `channel` cannot be read from a recording of so many, if it cannot."""
    if channel == -1 and channels != 1:
        return f"{channels} channels; choose one with the set's channel"
    if channel >= channels:
        return f"no channel {channel}; it has {channels}, counted from 0"
    return None


def info(location: str, allow_pipes: bool = False) -> tuple[int, int, int]:
    """Sample rate (Hz), samples per channel and channels, from the header of a recording."""
    with open_sound(location, allow_pipes) as sound:
        return sound.samplerate, sound.frames, sound.channels


def segment_range(segment: tuple[float, float], rate: int, samples: int, location: str) -> tuple[int, int]:
    """First sample and the one after the last of a segment in seconds (Kaldi extract-segments.cc)."""
    start, end = segment
    length = samples / rate
    where = f"{location}: segment {start:g}..{end:g} s"
    if not 0 <= start <= length:
        raise DataError(f"{where}: starts outside the {length:g} s of the recording")
    if end > length + MAX_OVERSHOOT:
        raise DataError(f"{where}: ends more than {MAX_OVERSHOOT} s after the {length:g} s of the recording")
    if end == -1 or end > length:
        end = length
    if not end - start >= np.float32(MIN_SEGMENT):
        raise DataError(f"{where}: shorter than {MIN_SEGMENT} s")
    return int(start * rate + 0.5), min(int(end * rate + 0.5), samples)


def decode(sound: soundfile.SoundFile, first: int, count: int, channel: int, location: str) -> np.ndarray:
    """`count` samples of a channel from `first`, on the int16 scale."""
    if count == 0:
        raise DataError(f"{location}: empty, no samples")
    if count * sound.channels > MAX_SAMPLES:
        raise DataError(
            f"{location}: {count * sound.channels} samples, over the limit of {MAX_SAMPLES}; "
            "cut it with a segments file"
        )
    try:
        sound.seek(first)
        samples = np.concatenate([block[:, channel] for block in blocks(sound, count)])
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{location}: damaged or truncated: {error.error_string or 'cannot be decoded'}"
        ) from None
    if len(samples) < count:
        raise DataError(
            f"{location}: truncated: {first + len(samples)} of {sound.frames} samples can be read"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        samples = samples * np.float32(INT16_SCALE)
    if not np.isfinite(samples).all():
        raise DataError(f"{location}: holds samples that are NaN or infinite")
    return samples


def blocks(sound: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    """The next `count` samples, or those that are there, (samples, channels) at a time: headers may lie."""
    while count:
        block = sound.read(min(count, BLOCK), dtype="float32", always_2d=True)
        yield block
        count = max(count - BLOCK, 0) if len(block) == BLOCK else 0


def resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Samples at `new_rate`, through the filter of Kaldi's ResampleWaveform (a Hann-windowed sinc)."""
    import torch
    from torchaudio.functional import resample as torchaudio_resample

    waveform = torch.from_numpy(samples).double()
    resampled = torchaudio_resample(waveform, rate, new_rate, lowpass_filter_width=6, rolloff=0.99)
    return resampled.numpy().astype(np.float32)


def at_speed(samples: np.ndarray, speed: float) -> np.ndarray:
    """Samples (n,) played `speed` times as fast, pitch and all: (n / `speed`,), as sox's `speed` makes them.

    `speed` has two decimals at most.
    """
    return samples if speed == 1 else resample(samples, round(100 * speed), 100)


@contextmanager
def open_sound(location: str, allow_pipes: bool) -> Iterator[soundfile.SoundFile]:
    """The decoder of a recording, its header checked against the bytes that are there."""
    with open_bytes(location, allow_pipes) as file:
        source = complete(file, location)
        target = source if isinstance(source, io.BytesIO) else source.fileno()
        try:
            sound = soundfile.SoundFile(target, closefd=False)
        except soundfile.LibsndfileError as error:
            raise DataError(f"{location}: not audio that can be read: {error.error_string}") from None
        with sound:
            yield sound


@contextmanager
def open_bytes(location: str, allow_pipes: bool) -> Iterator[BinaryIO]:
    """A binary file that stands at the first byte of a recording."""
    if location.endswith("|"):
        yield io.BytesIO(run_pipe(location, allow_pipes))
        return
    path, offset = split_offset(location)
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):  # to open it would be to wait for who writes to it
            raise DataError(f"{location}: a pipe, not a file")
        file = open(path, "rb", buffering=0)  # noqa: SIM115  unbuffered: libsndfile reads on from its position
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{location}: {(getattr(error, 'strerror', None) or str(error)).lower()}") from None
    with file:
        try:
            file.seek(offset)
        except OSError:
            raise DataError(f"{location}: the offset lies outside the file") from None
        yield file


def split_offset(location: str) -> tuple[str, int]:
    """The file of a location that is no command, and the byte at which the recording begins there."""
    entry = re.fullmatch(r"(.+):(\d{1,18})", location)
    return (entry[1], int(entry[2])) if entry else (location, 0)


def run_pipe(location: str, allow_pipes: bool) -> bytes:
    """The output of a "command |" entry of wav.scp, which runs only where pipes are allowed."""
    if not allow_pipes:
        raise DataError(
            f"{location}: runs a command; set data.allow_pipes: true if you trust where it comes from"
        )
    done = subprocess.run(location[:-1], shell=True, capture_output=True)
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())[-200:]
        raise DataError(f"{location}: the command failed with status {done.returncode}: {reason}")
    return done.stdout


def complete(file: BinaryIO, location: str) -> BinaryIO:
    """`file`, or a copy with its true size where the header says that the size is unknown (wave-reader.cc).

    libsndfile reads a WAV file that is cut short without a word; here that is a DataError.
    """
    start = file.tell()
    chunk = data_chunk(file)
    available = file.seek(0, os.SEEK_END) - (chunk[0] if chunk else start)
    file.seek(start)
    if available <= 0:
        raise DataError(f"{location}: empty, no samples")
    if chunk is None:
        return file
    first, size = chunk
    if size not in STREAMED:
        if size > available:
            raise DataError(f"{location}: truncated: {available} of {size} bytes of samples are there")
        return file
    if start:
        raise DataError(f"{location}: a WAV header without a size cannot be read from inside an archive")
    if available > MAX_STREAM:
        raise DataError(f"{location}: over 1 GiB, and its header has no size; write it anew with one")
    content = bytearray(file.read())
    struct.pack_into("<I", content, first - 4, available)
    return io.BytesIO(content)


def data_chunk(file: BinaryIO) -> tuple[int, int] | None:
    """Where the samples of a WAV file begin and how many bytes it declares; None for other formats."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    while len(head := file.read(8)) == 8:
        tag, size = struct.unpack("<4sI", head)
        if tag == b"data":
            return file.tell(), size
        file.seek(size + size % 2, os.SEEK_CUR)
    return None
