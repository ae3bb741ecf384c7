"""Kaldi data directories: wav.scp, utt2spk, spk2utt, utt2dur, and where they exist segments and spk2gender.

utt2speed is not Kaldi's: how many times as fast as recorded an utterance is played before its features are
computed. Segments are cut before, and utt2dur is counted after. Every file is sorted as `LC_ALL=C sort` does
and names each id once; `read` names the line that does not.
"""

import re
import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from operator import lt
from pathlib import Path
from typing import NamedTuple

from spkdistill.errors import DataError
from spkdistill.files import read_text, replacing

SLOWEST, FASTEST = 0.5, 2.0  # in utt2speed
SORT_HINT = "sort the file with LC_ALL=C sort"


class Utterance(NamedTuple):
    """One utterance: a whole recording, or the seconds `start` to `end` of it (None for both: all of it)."""

    id: str
    speaker: str
    location: str
    start: float | None
    end: float | None
    speed: float = 1.0  # at which it is played, see `spkdistill.audio.at_speed`

    @property
    def segment(self) -> tuple[float, float] | None:
        """(start, end) in seconds, or None for a whole recording: what `spkdistill.audio.read` takes."""
        return None if self.start is None or self.end is None else (self.start, self.end)


@dataclass(frozen=True)
class DataDir:
    """The contents of a data directory, under the names of its files; dictionaries are sorted by key."""

    wav: dict[str, str]  # recording -> location; without segments a recording is an utterance
    utt2spk: dict[str, str]
    segments: dict[str, tuple[str, float, float]] | None  # utterance -> recording, start and end in seconds
    utt2dur: dict[str, float]  # seconds; empty where the directory has no utt2dur
    spk2gender: dict[str, str]  # m or f; empty where the directory has no spk2gender
    utt2speed: dict[str, float] = field(default_factory=dict)  # empty where it has no utt2speed: all are 1

    @cached_property
    def utterances(self) -> list[Utterance]:
        """Every utterance, sorted by id."""
        return [self.utterance(id) for id in self.utt2spk]

    def utterance(self, id: str) -> Utterance:
        """The utterance of this id."""
        recording, start, end = (id, None, None) if self.segments is None else self.segments[id]
        return Utterance(id, self.utt2spk[id], self.wav[recording], start, end, self.speed(id))

    def speed(self, id: str) -> float:
        """How fast the utterance of this id is played, relative to its recording."""
        return self.utt2speed.get(id, 1.0)

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """The utterances of each speaker, speakers and utterances sorted."""
        speakers: dict[str, list[str]] = {speaker: [] for speaker in sorted(set(self.utt2spk.values()))}
        for utterance, speaker in self.utt2spk.items():
            speakers[speaker].append(utterance)
        return speakers


def read(directory: str | Path, allow_pipes: bool = False) -> DataDir:
    """The data directory at `directory`, every file of it checked against the others (DataError).

    All but wav.scp and utt2spk are read where they exist. Audio files are not opened. A command in wav.scp
    (`... |`) is an error unless `allow_pipes`; none is run.
    """
    data, speakerless = read_with_speakerless(directory, allow_pipes)
    if speakerless:
        raise DataError(
            f"{Path(directory) / 'utt2spk'}: {speakerless[0]} has no speaker; "
            "add it, or remove the utterance from the other files"
        )
    return data


def read_with_speakerless(directory: str | Path, allow_pipes: bool) -> tuple[DataDir, list[str]]:
    """As `read`, but utterances without a speaker are left out of the DataDir and returned beside it."""
    directory = Path(directory)
    wav = read_table(directory / "wav.scp")
    if not allow_pipes:
        refuse_pipes(directory / "wav.scp", wav)
    segments = read_segments(directory / "segments", wav) if (directory / "segments").exists() else None
    utterances = wav if segments is None else segments
    source = "wav.scp" if segments is None else "segments"

    utt2spk = read_table(directory / "utt2spk", allow_empty_values=True)
    require_known(directory / "utt2spk", utt2spk, utterances, source)
    for number, (utterance, speaker) in enumerate(utt2spk.items(), start=1):
        if len(speaker.split()) > 1:
            raise DataError(
                f"{directory / 'utt2spk'}:{number}: {utterance} has {speaker!r} for a speaker; give it one id"
            )
    if utt2spk.keys() == utterances.keys():
        speakers = map(sys.intern, utt2spk.values())
        utt2spk = dict(zip(utterances, speakers, strict=True))  # each id in memory once
    speakerless = [utterance for utterance in utterances if not utt2spk.get(utterance)]
    for utterance in speakerless:
        utt2spk.pop(utterance, None)
    if segments is not None and speakerless:
        segments = {id: segment for id, segment in segments.items() if id in utt2spk}

    durations = read_durations(directory / "utt2dur", utterances)
    genders = read_genders(directory / "spk2gender", utt2spk)
    speeds = read_speeds(directory / "utt2speed", utterances)
    data = DataDir(wav, utt2spk, segments, durations, genders, speeds)
    check_spk2utt(directory / "spk2utt", data, set(speakerless))
    return data, speakerless


def select(data: DataDir, utterances: Collection[str]) -> DataDir:
    """Those of `utterances` that `data` has, with their recordings and speakers."""
    utt2spk = {id: speaker for id, speaker in data.utt2spk.items() if id in utterances}
    segments = data.segments and {id: data.segments[id] for id in utt2spk}
    recordings = {recording for recording, _, _ in segments.values()} if segments else utt2spk
    wav = {recording: place for recording, place in data.wav.items() if recording in recordings}
    speakers = set(utt2spk.values())
    return DataDir(
        wav,
        utt2spk,
        segments,
        {id: data.utt2dur[id] for id in utt2spk} if data.utt2dur else {},
        {speaker: gender for speaker, gender in data.spk2gender.items() if speaker in speakers},
        {id: data.utt2speed[id] for id in utt2spk} if data.utt2speed else {},
    )


def write(directory: str | Path, data: DataDir) -> None:
    """Write `data` as a data directory, each file atomically; a file it has no content for is removed."""
    tables: dict[str, Iterable[str] | None] = {
        "segments": data.segments and (f"{id} {r} {a} {b}" for id, (r, a, b) in data.segments.items()),
        "spk2gender": data.spk2gender and lines_of(data.spk2gender),
        "utt2speed": data.utt2speed and (f"{id} {speed:g}" for id, speed in data.utt2speed.items()),
        "utt2dur": data.utt2dur and (f"{id} {seconds}" for id, seconds in data.utt2dur.items()),
        "spk2utt": (f"{speaker} {' '.join(ids)}" for speaker, ids in data.spk2utt.items()),
        "utt2spk": lines_of(data.utt2spk),
        "wav.scp": lines_of(data.wav),
    }
    for name, lines in tables.items():
        path = Path(directory) / name
        if lines:
            with replacing(path) as file:
                file.writelines(f"{line}\n" for line in lines)
        else:
            path.unlink(missing_ok=True)


def lines_of(table: dict[str, str]) -> Iterable[str]:
    """The lines `key value` of a table."""
    return (f"{key} {value}" for key, value in table.items())


def read_table(path: str | Path, allow_empty_values: bool = False) -> dict[str, str]:
    """A file of lines `key value`: sorted, no key twice, at least one line."""
    lines = read_text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise DataError(f"{path}: the file is empty; expected lines of an id and its value")
    table: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.strip().split(None, 1)
        if len(fields) == 1 and allow_empty_values:
            fields.append("")
        if len(fields) != 2:
            raise DataError(f"{path}:{number}: expected an id and its value, found {line!r}")
        table[fields[0]] = fields[1]
    require_sorted(path, list(table) if len(table) == len(lines) else [line.split()[0] for line in lines])
    return table


def require_sorted(path: str | Path, keys: Sequence[str]) -> None:
    """Refuse keys that are not in strictly rising order of their bytes (which is that of code points)."""
    if all(map(lt, keys, keys[1:])):
        return
    first = next(index for index in range(1, len(keys)) if keys[index - 1] >= keys[index])
    if len(set(keys)) == len(keys):
        raise DataError(f"{path}:{first + 1}: {keys[first]} comes after {keys[first - 1]}; {SORT_HINT}")
    seen: set[str] = set()
    for number, key in enumerate(keys, start=1):
        if key in seen:
            raise DataError(f"{path}:{number}: {key} is here for the second time; keep one line for each id")
        seen.add(key)


def refuse_pipes(path: Path, wav: dict[str, str]) -> None:
    """Refuse locations that are shell commands."""
    for number, (recording, location) in enumerate(wav.items(), start=1):
        if location.endswith("|"):
            raise DataError(
                f"{path}:{number}: {recording} is a shell command ({location}); "
                "decode it to a file, or set data.allow_pipes: true if you trust it"
            )


def require_known(path: Path, keys: Iterable[str], known: Collection[str], source: str) -> None:
    """Refuse a file that names ids which `source` does not."""
    for number, key in enumerate(keys, start=1):
        if key not in known:
            raise DataError(f"{path}:{number}: {key} is not in {source}; add it there or remove this line")


def require_complete(path: Path, keys: Collection[str], expected: Iterable[str], source: str) -> None:
    """Refuse a file without some of the ids that `source` has."""
    missing = [id for id in expected if id not in keys]
    if missing:
        raise DataError(f"{path}: {min(missing)} of {source} is missing; add it, or make the file again")


def read_segments(path: Path, wav: dict[str, str]) -> dict[str, tuple[str, float, float]]:
    """Lines `utterance recording start end`, in seconds; an end of -1 is the recording's, as in Kaldi."""
    segments = {}
    for number, (utterance, value) in enumerate(read_table(path).items(), start=1):
        try:
            recording, *times = value.split()
            start, end = map(float, times)
        except ValueError:
            raise DataError(
                f"{path}:{number}: expected `utterance recording start end`, found {value!r}"
            ) from None
        if recording not in wav:
            raise DataError(f"{path}:{number}: recording {recording} is not in wav.scp; add it there")
        if not (0 <= start < end < inf or (0 <= start < inf and end == -1)):
            raise DataError(f"{path}:{number}: {utterance} from {start:g} to {end:g} s is no stretch of time")
        segments[utterance] = recording, start, end
    return segments


def read_durations(path: Path, utterances: Collection[str]) -> dict[str, float]:
    """utt2dur, in seconds, for exactly `utterances`; empty where there is no such file."""
    durations = {}
    for number, (utterance, value) in enumerate(read_values(path, utterances).items(), start=1):
        try:
            durations[utterance] = float(value)
        except ValueError:
            raise DataError(
                f"{path}:{number}: {value!r} is not a number of seconds; correct or remove utt2dur"
            ) from None
    return durations


def read_speeds(path: Path, utterances: Collection[str]) -> dict[str, float]:
    """utt2speed, a factor for exactly `utterances`; empty where there is no such file."""
    speeds = {}
    for number, (utterance, value) in enumerate(read_values(path, utterances).items(), start=1):
        if not (re.fullmatch(r"[0-9](\.[0-9]{1,2})?", value) and SLOWEST <= float(value) <= FASTEST):
            raise DataError(
                f"{path}:{number}: the speed of {utterance} is {value!r}; "
                f"expected {SLOWEST:g} to {FASTEST:g}, with two decimals at most"
            )
        speeds[utterance] = float(value)
    return speeds


def read_values(path: Path, utterances: Collection[str]) -> dict[str, str]:
    """A file with a value for exactly `utterances`; empty where there is no such file."""
    if not path.exists():
        return {}
    table = read_table(path)
    require_known(path, table, utterances, "wav.scp or segments")
    require_complete(path, table, utterances, "wav.scp or segments")
    return table


def read_genders(path: Path, utt2spk: dict[str, str]) -> dict[str, str]:
    """spk2gender, m or f for every speaker; empty where there is no such file."""
    if not path.exists():
        return {}
    genders, speakers = read_table(path), set(utt2spk.values())
    for number, (speaker, gender) in enumerate(genders.items(), start=1):
        if gender not in ("m", "f"):
            raise DataError(f"{path}:{number}: the gender of {speaker} is {gender!r}; expected m or f")
    require_known(path, genders, speakers, "utt2spk")
    require_complete(path, genders, speakers, "utt2spk")
    return genders


def check_spk2utt(path: Path, data: DataDir, speakerless: set[str]) -> None:
    """Refuse a spk2utt, where there is one, that is not the inverse of utt2spk."""
    if not path.exists():
        return
    table = read_table(path)
    for number, (speaker, value) in enumerate(table.items(), start=1):
        listed, expected = set(value.split()) - speakerless, set(data.spk2utt.get(speaker, []))
        if listed != expected:
            example = min(listed ^ expected)
            raise DataError(
                f"{path}:{number}: {speaker} and {example} do not agree with utt2spk; make spk2utt from it"
            )
    require_complete(path, table, data.spk2utt, "utt2spk")
