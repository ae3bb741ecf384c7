"""Trials with their speakers: what the bootstrap resamples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spkdistill.data.enrolment import model_speakers, read_models
from spkdistill.data.kaldi import read_table
from spkdistill.data.trials import Trials, read_trials, select
from spkdistill.errors import DataError


@dataclass(frozen=True)
class LabelledTrials:
    """Trials, the speaker of each of their names, and which of the names are utterances."""

    trials: Trials
    speakers: np.ndarray  # (names,) str, of trials.names
    utterances: np.ndarray  # (names,) bool; the others are speakers or models

    def sides(self) -> np.ndarray:
        """The speakers of both sides, (trials, 2) int32, numbered in sorted order without a gap."""
        numbers = np.unique(self.speakers, return_inverse=True)[1].astype(np.int32)
        return np.stack([numbers[self.trials.enrol], numbers[self.trials.test]], axis=1)

    def select(self, keep: np.ndarray) -> "LabelledTrials":
        """The trials where `keep`, (trials,) bool, is true."""
        kept = select(self.trials, keep)
        names = np.searchsorted(np.array(self.trials.names), np.array(kept.names))
        return LabelledTrials(kept, self.speakers[names], self.utterances[names])


def read_labelled(trials_path: Path, utt2spk_path: Path, enrol_spk2utt_path: Path | None) -> LabelledTrials:
    """Trials and their speakers; a side is an utterance of utt2spk, a model of spk2utt, or a speaker."""
    trials, utt2spk = read_trials(trials_path), read_table(utt2spk_path)
    speaker_of = {speaker: speaker for speaker in utt2spk.values()}
    if enrol_spk2utt_path is not None:
        speaker_of |= model_speakers(read_models(enrol_spk2utt_path, utt2spk), utt2spk)
    speaker_of |= utt2spk
    for name in trials.names:
        if name not in speaker_of:
            places = " nor in ".join(str(path) for path in (utt2spk_path, enrol_spk2utt_path) if path)
            raise DataError(f"{trials_path}: {name} is not in {places}; add it or remove the trial")
    return LabelledTrials(
        trials,
        np.array([speaker_of[name] for name in trials.names]),
        np.array([name in utt2spk for name in trials.names]),
    )
