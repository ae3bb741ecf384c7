"""From a corpus to data/<set>: headers checked, what is no use listed in rejected.tsv, trials as Kaldi's."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill import audio
from spkdistill.data.corpora import Source, load
from spkdistill.data.enrolment import (
    Models,
    check_models,
    draw_models,
    select_utterances,
    write_models,
)
from spkdistill.data.headers import Headers, one_line, read_headers
from spkdistill.data.kaldi import DataDir, select, write
from spkdistill.data.speeds import with_copies
from spkdistill.data.trials import DrawSettings, Trials, draw_trials, models_beside, sides_in, write_trials
from spkdistill.data.trials import select as select_trials
from spkdistill.errors import DataError
from spkdistill.files import write_tsv
from spkdistill.manifest import write_manifest


def prepare(
    settings: Mapping[str, Any],
    seed: int,
    max_rejected: float,
    allow_pipes: bool,
    scps: Sequence[str | Path],
    headers: Sequence[str | Path],
    output: str | Path,
    speeds: Sequence[float] = (),
) -> None:
    """Write the data directory `output` of a set from its `settings` and the `headers` of its recordings.

    `headers` are files of shards, and so are the `scps` that a synthetic set has. Utterances whose audio is
    missing, empty, of another rate, without the channel or unreadable, or that have no speaker, go to
    rejected.tsv, and the trials that they cost to rejected_trials.tsv. DataError where the corpus contradicts
    itself or the share of rejected utterances is over `max_rejected`.

    The directory also has a copy of each utterance at each of `speeds`; trials and rejected.tsv know of none.
    """
    source = load(settings, allow_pipes, scps)
    durations, faults = durations_of(source.data, read_headers(headers), settings["sample_rate"])
    rejected = dict(sorted({**source.rejected, **faults}.items()))
    write_tsv(Path(output, "rejected.tsv"), ["utterance", "reason"], list(rejected.items()))
    check_share(Path(output, "rejected.tsv"), rejected, len(durations) + len(rejected), max_rejected)
    data = replace(select(source.data, durations), utt2dur=durations)
    copied = with_copies(Path(output), data, speeds)
    write(output, copied)
    counts = write_trial_lists(source, data, rejected, seed, output)
    contents = {**describe(copied), "rejected": len(rejected), "trials": counts}
    asked = {"speeds": list(speeds)} if speeds else {}
    write_manifest(Path(output, "manifest.json"), "prepare", contents, {**settings, **asked, "seed": seed})


def durations_of(data: DataDir, headers: Headers, rate: int) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of each utterance that can be used, and what is wrong with the others."""
    if headers.keys() != data.wav.keys():
        wrong = min(headers.keys() ^ data.wav.keys())
        raise DataError(f"--headers: not those of this set's recordings (see {wrong}); inspect it again")
    found = headers if data.segments is None else segment_samples(data, headers, rate)
    found = {id: found[id] for id in data.utt2spk}
    durations = {id: n / rate / data.speed(id) for id, n in found.items() if isinstance(n, int)}
    return durations, {id: reason for id, reason in found.items() if isinstance(reason, str)}


def segment_samples(data: DataDir, samples: Headers, rate: int) -> dict[str, int | str]:
    """The samples of each segment, or why it cannot be used: its recording's fault, or its own."""
    found: dict[str, int | str] = {}
    for utterance, (recording, start, end) in (data.segments or {}).items():
        found[utterance] = samples[recording]
        if isinstance(available := samples[recording], int):
            try:
                first, last = audio.segment_range((start, end), rate, available, data.wav[recording])
                found[utterance] = last - first
            except DataError as error:
                found[utterance] = one_line(error)
    return found


def check_share(path: Path, rejected: Mapping[str, str], total: int, limit: float) -> None:
    """DataError, with the first reasons, where more than the share `limit` of utterances is rejected."""
    if total == 0:
        raise DataError(f"{path.parent}: the set has no utterance; check its settings")
    if len(rejected) > limit * total or len(rejected) == total:
        some = "; ".join(f"{utterance}: {reason}" for utterance, reason in list(rejected.items())[:3])
        raise DataError(
            f"{path}: {len(rejected)} of {total} utterances are rejected, more than data.max_rejected "
            f"{limit:g} allows ({some}); mend them or raise the limit"
        )


def write_trial_lists(
    source: Source, data: DataDir, rejected: Mapping[str, str], seed: int, output: str | Path
) -> dict[str, dict[str, int]]:
    """Write each list, its models, and rejected_trials.tsv with what rejected utterances cost; count them."""
    counts, left_out = {}, []
    for name, trials in source.trials.items():
        path, models = Path(output, name), source.models.get(name)
        if isinstance(trials, DrawSettings):
            trials, models = draw(data, trials, seed, path)
        keep, reasons = usable(trials, models, data.utt2spk, rejected)
        left_out += [[*trials.pair(i), f"{name}: {reason}"] for i, reason in reasons.items()]
        kept = select_trials(trials, keep)
        check_kinds(path, kept)
        write_trials(path, kept)
        targets = int(kept.target.sum())
        counts[name] = {
            "target": targets,
            "nontarget": len(kept) - targets,
            "rejected": len(reasons),
            "outside_limit_speakers": len(trials) - len(kept) - len(reasons),
        }
        if models is None:
            models_beside(path).unlink(missing_ok=True)  # of an earlier list
        else:
            named = {kept.names[index] for index in np.unique(kept.enrol)}
            models = select_utterances({m: ids for m, ids in models.items() if m in named}, data.utt2spk)
            write_models(models_beside(path), models)
            counts[name]["models"] = len(models)
    write_tsv(Path(output, "rejected_trials.tsv"), ["enrol", "test", "reason"], left_out)
    return counts


def draw(data: DataDir, settings: DrawSettings, seed: int, path: Path) -> tuple[Trials, Models | None]:
    """Trials of a set, and their models where speakers are enrolled with several utterances."""
    if settings.enrol_utterances == 1:
        return draw_trials(data.spk2utt, data.spk2gender, settings, seed, path.name), None
    models = draw_models(data.spk2utt, settings.enrol_utterances, seed, path.name)
    check_models(models_beside(path), models, data.utt2spk)
    return draw_trials(data.spk2utt, data.spk2gender, settings, seed, path.name, models), models


def usable(
    trials: Trials, models: Models | None, utterances: Collection[str], rejected: Collection[str]
) -> tuple[np.ndarray, dict[int, str]]:
    """Which trials, (trials,) bool, are among `utterances`, and why others are not if they are `rejected`.

    A model is there with the utterances that are, and rejected with its last one.
    """
    enrolled, lost = utterances, rejected
    if models is not None:
        enrolled = select_utterances(models, utterances)
        lost = {model for model, ids in models.items() if all(id in rejected for id in ids)}
    keep = np.logical_and(*sides_in(trials, enrolled, utterances))
    lost_enrol, lost_test = sides_in(trials, lost, rejected)
    reasons = {}
    for index in np.flatnonzero(~keep & (lost_enrol | lost_test)):
        by_name = models is None or lost_test[index]
        reasons[index] = (
            "names a rejected utterance" if by_name else "every utterance of the model is rejected"
        )
    return keep, reasons


def check_kinds(path: Path, trials: Trials) -> None:
    """DataError where there are not both targets and non-targets."""
    if not len(trials):
        raise DataError(
            f"{path}: no trial is left among the utterances of this set; check the trials, "
            "limit_speakers and rejected.tsv"
        )
    if trials.target.all() or not trials.target.any():
        only = "target" if trials.target.all() else "nontarget"
        raise DataError(f"{path}: every trial left is a {only}, and error rates need both kinds; add trials")


def describe(data: DataDir) -> dict[str, Any]:
    """Counts for the manifest."""
    genders = list(data.spk2gender.values())
    return {
        "utterances": len(data.utt2spk),
        "speakers": len(data.spk2utt),
        "female_speakers": genders.count("f"),
        "male_speakers": genders.count("m"),
        "hours": round(sum(data.utt2dur.values()) / 3600, 4),
        # Kaldi wants utterance ids to begin with their speaker's, so that both orders agree.
        "ids_without_speaker_prefix": sum(not id.startswith(speaker) for id, speaker in data.utt2spk.items()),
    }
