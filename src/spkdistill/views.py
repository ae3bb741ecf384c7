"""Views: the fixed list of crops that teachers and students both see.

A view is `frames` rows of an utterance's voiced features. Its first frame comes from a hash of the seed and
the view's id alone, so it does not depend on which other utterances there are, on their order or on shards. A
target is the teacher's output for exactly one view.
"""

import re
from collections import Counter
from collections.abc import Sequence
from csv import QUOTE_NONE
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from spkdistill.arks import ArkReader
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_text, read_tsv, write_text, write_tsv
from spkdistill.seeds import derive_seed

LONGEST = 1 << 20  # frames of a view, which memory holds: three hours
COLUMNS = ["view", "utterance", "speaker", "first", "frames", "utterance_frames"]


@dataclass(frozen=True)
class ViewSettings:
    """Which crops there are: `per_utterance` of `frames` frames each, of the utterances that have enough."""

    frames: int
    per_utterance: int
    min_frames: int  # an utterance with fewer voiced frames is left out
    min_utterances: int  # a speaker with fewer such utterances is left out

    def __post_init__(self) -> None:
        """Refuse views without frames, and utterances without views (ConfigError)."""
        for name in ("frames", "per_utterance"):
            if not 1 <= getattr(self, name) <= LONGEST:
                raise ConfigError(
                    f"views.{name}: {getattr(self, name)} is not allowed; expected 1 to {LONGEST}"
                )


@dataclass(frozen=True)
class Views:
    """The columns of views.tsv; row i of each is view i, sorted by id."""

    ids: list[str]
    utterances: list[str]
    speakers: list[str]
    first: np.ndarray  # int64, the first frame
    frames: np.ndarray  # int64, rows in the crop
    utterance_frames: np.ndarray  # int64, rows in the whole utterance

    def __len__(self) -> int:
        return len(self.ids)


def views_stage(
    num_frames: str | Path,
    utt2spk: str | Path,
    settings: ViewSettings,
    seed: int,
    output: str | Path,
    speakers: str | Path,
    rejected: str | Path,
) -> None:
    """Draw a set's views and write `output` and `speakers`; utterances without any go to `rejected`."""
    views, reasons = make_views(read_num_frames(num_frames), read_map(utt2spk), settings, seed)
    write_tsv(rejected, ["utterance", "reason"], reasons)
    if not views.ids:
        raise DataError(f"{num_frames}: no utterance is left for views; see {rejected}")
    if len(set(views.speakers)) < 2:
        raise DataError(
            f"{num_frames}: speaker {views.speakers[0]} alone is left, and training tells two or more apart; "
            f"add speakers, or see {rejected}"
        )
    write_speakers(speakers, views)
    write_views(output, views)


def make_views(
    num_frames: dict[str, int], speaker_of: dict[str, str], settings: ViewSettings, seed: int
) -> tuple[Views, list[tuple[str, str]]]:
    """The views of every utterance of `num_frames` that is long enough; (utterance, reason) of the others.

    The utterances of a speaker are counted after the short ones are gone, as Kaldi's voxceleb/v2 does.
    """
    for utterance in num_frames:
        if utterance not in speaker_of:
            raise DataError(f"utt2spk:{utterance}: no speaker for this utterance; prepare the data again")
    long_enough = [
        utterance for utterance, frames in num_frames.items() if frames >= max(settings.min_frames, 1)
    ]
    of_speaker = Counter(speaker_of[utterance] for utterance in long_enough)
    kept = [
        utterance for utterance in long_enough if of_speaker[speaker_of[utterance]] >= settings.min_utterances
    ]
    names = sorted(
        (view_id(utterance, index), utterance)
        for utterance in kept
        for index in range(settings.per_utterance)
    )
    ids, utterances = [view for view, _ in names], [utterance for _, utterance in names]
    lengths = np.array([num_frames[utterance] for utterance in utterances], dtype=np.int64)
    views = Views(
        ids=ids,
        utterances=utterances,
        speakers=[speaker_of[utterance] for utterance in utterances],
        first=draw_first(ids, lengths, settings.frames, seed),
        frames=np.full(len(ids), settings.frames, dtype=np.int64),
        utterance_frames=lengths,
    )
    return views, rejections(num_frames, speaker_of, of_speaker, settings)


def read_views(path: str | Path) -> Views:
    """The views of a views.tsv; DataError names a line that is out of order or starts outside."""
    import pandas as pd  # a sixth of the start of a job that embeds, which reads no views

    types = dict.fromkeys(COLUMNS[:3], str) | dict.fromkeys(COLUMNS[3:], np.int64)
    try:
        with open(path, "rb") as file:
            if file.readline(LONGEST).decode().rstrip("\r\n").split("\t") != COLUMNS:
                raise ValueError(
                    "another header"
                )  # before pandas takes minutes to name a hundred thousand columns
        with np.errstate(invalid="ignore"):  # pandas casts 1e999 before it refuses it
            table = pd.read_csv(
                path, sep="\t", dtype=types, usecols=COLUMNS, quoting=QUOTE_NONE, keep_default_na=False
            )
    except (ValueError, OverflowError, OSError) as error:
        read_tsv(path, COLUMNS)  # raises where a line has too few or too many fields, naming it
        raise DataError(f"{path}: {error}; make the views again") from None
    ids, utterances, speakers = (table[column].tolist() for column in COLUMNS[:3])
    first, frames, utterance_frames = (table[column].to_numpy() for column in COLUMNS[3:])
    if not ids:
        raise DataError(f"{path}: no views; see rejected.tsv beside it")
    for line, (before, after) in enumerate(pairwise(ids), start=3):
        if before >= after:
            raise DataError(f"{path}:{line}: view {after} is not after {before}; make the views again")
    bad = np.flatnonzero(
        (frames != frames[0]) | (frames < 1) | (frames > LONGEST) | (first < 0) | (first >= utterance_frames)
    )
    if bad.size:
        raise DataError(
            f"{path}:{bad[0] + 2}: view {ids[bad[0]]} starts outside its utterance, "
            f"or has not 1 to {LONGEST} frames as all others; make the views again"
        )
    return Views(ids, utterances, speakers, first, frames, utterance_frames)


def write_views(path: str | Path, views: Views) -> None:
    """Write views.tsv."""
    names = views.ids, views.utterances, views.speakers
    numbers = views.first, views.frames, views.utterance_frames
    write_tsv(path, COLUMNS, zip(*names, *(map(int, column) for column in numbers), strict=True))


def write_speakers(path: str | Path, views: Views) -> None:
    """Write the speakers of the views, sorted, one per line: a speaker's class is its line, from 0."""
    write_text(path, "".join(f"{speaker}\n" for speaker in sorted(set(views.speakers))))


def read_speakers(path: str | Path) -> list[str]:
    """The speakers in the order of their classes."""
    speakers = read_text(path).splitlines()
    if not speakers or sorted(set(speakers)) != speakers:
        raise DataError(f"{path}: expected sorted, unique speakers, one per line; make the views again")
    return speakers


def read_map(path: str | Path) -> dict[str, str]:
    """A Kaldi text map of two columns (utt2spk, utt2num_frames), in the order of the file."""
    mapping = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        fields = line.split()
        if len(fields) != 2:
            raise DataError(f"{path}:{number}: expected two fields, found {len(fields)}")
        if fields[0] in mapping:
            raise DataError(f"{path}:{number}: {fields[0]} is there twice")
        mapping[fields[0]] = fields[1]
    return mapping


def read_num_frames(path: str | Path) -> dict[str, int]:
    """The rows of every utterance's features."""
    mapping = read_map(path)
    for utterance, frames in mapping.items():
        if not re.fullmatch(r"\d{1,9}", frames, re.ASCII):
            raise DataError(f"{path}:{utterance}: expected a number of frames, found {frames!r}")
    return {utterance: int(frames) for utterance, frames in mapping.items()}


class ViewReader:
    """Crops of the voiced features, by the index of the view."""

    def __init__(self, views: Views, voiced_scp: str | Path) -> None:
        """`voiced_scp` must have every utterance of the views."""
        self.views = views
        self.scp = voiced_scp
        self.reader = ArkReader(voiced_scp)
        missing = next((utterance for utterance in views.utterances if utterance not in self.reader), None)
        if missing is not None:
            raise DataError(f"{voiced_scp}:{missing}: no features, but views; rerun the views stage")
        shape = self.reader.shape(views.utterances[0])
        if len(shape) != 2:
            raise DataError(
                f"{voiced_scp}:{views.utterances[0]}: shape {shape}, where features (frames, dim) belong"
            )
        self.dim = shape[1]

    def batch(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The crops of the views `indices`, all of the same length: float32 (batch, frames, dim)."""
        crops = np.empty((len(indices), int(self.views.frames[indices[0]]), self.dim), dtype=np.float32)
        for row, index in enumerate(indices):
            crops[row] = self.crop(int(index))
        return crops

    def crop(self, index: int) -> np.ndarray:
        """Rows (first + 0 ... frames - 1) modulo the utterance's length: a short utterance is repeated."""
        utterance, length = self.views.utterances[index], int(self.views.utterance_frames[index])
        first, frames = int(self.views.first[index]), int(self.views.frames[index])
        shape = self.reader.shape(utterance)
        if shape != (length, self.dim):
            expected = f"the views were made for {(length, self.dim)}; rerun the views stage"
            raise DataError(f"{self.scp}:{utterance}: features are {shape}, {expected}")
        if first + frames <= length:
            return self.reader.rows(utterance, first, frames)
        return self.reader.rows(utterance, 0, length)[(first + np.arange(frames)) % length]


def whole_utterance(reader: ArkReader, utterance: str, dim: int, shortest: int) -> np.ndarray:
    """All voiced frames, repeated where they are fewer than `shortest`: float32 (frames, dim)."""
    shape = reader.shape(utterance)
    if len(shape) != 2 or shape[0] == 0 or shape[1] != dim:
        expected = f"expected (frames, {dim}), which the network was trained on"
        raise DataError(f"{reader.scp_path}:{utterance}: features are {shape}, {expected}")
    return np.resize(reader.rows(utterance, 0, shape[0]), (max(shape[0], shortest), dim))


def view_id(utterance: str, index: int) -> str:
    """The name of an utterance's `index`-th crop."""
    return f"{utterance}-v{index:02d}"


def draw_first(ids: list[str], lengths: np.ndarray, frames: int, seed: int) -> np.ndarray:
    """First frames, uniform over the crops that fit; over all rows where none does."""
    choices = np.where(lengths > frames, lengths - frames + 1, lengths)
    return np.array([derive_seed(seed, "views", view) for view in ids], dtype=np.int64) % choices


def rejections(
    num_frames: dict[str, int], speaker_of: dict[str, str], of_speaker: Counter, settings: ViewSettings
) -> list[tuple[str, str]]:
    """(utterance, reason) of each utterance without views, sorted."""
    rejected = []
    for utterance, frames in sorted(num_frames.items()):
        speaker = speaker_of[utterance]
        if frames < max(settings.min_frames, 1):
            rejected.append((utterance, f"{frames} voiced frames, fewer than {settings.min_frames}"))
        elif of_speaker[speaker] < settings.min_utterances:
            count = f"{of_speaker[speaker]} utterances, fewer than {settings.min_utterances}"
            rejected.append((utterance, f"speaker {speaker} has {count}"))
    return rejected
