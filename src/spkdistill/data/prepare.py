"""From a corpus to data/<set>: headers checked, what is no use listed in rejected.tsv, trials as Kaldi's."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spkdistill import audio
from spkdistill.data.corpora import Source
from spkdistill.data.kaldi import DataDir, select, write
from spkdistill.data.trials import DrawSettings, Trials, draw_trials, write_trials
from spkdistill.data.trials import select as select_trials
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import write_tsv
from spkdistill.manifest import write_manifest
from spkdistill.progress import progress
from spkdistill.settings import build

READERS = 16  # threads that read headers: on a network disk they wait, and wait together
BATCH = 256  # recordings a thread takes at a time


def prepare(
    settings: Mapping[str, Any],
    seed: int,
    max_rejected: float,
    allow_pipes: bool,
    scps: Sequence[str | Path],
    output: str | Path,
) -> None:
    """Write the data directory `output` of a set from its `settings`, and from shards `scps` if synthetic.

    Utterances whose audio is missing, empty, of another rate, not mono or unreadable, or that have no
    speaker, go to rejected.tsv, and the trials that name them to rejected_trials.tsv. DataError where the
    corpus contradicts itself or the share of rejected utterances is over `max_rejected`.
    """
    source = load(settings, allow_pipes, scps)
    durations, faults = measure(source.data, settings["sample_rate"], allow_pipes)
    rejected = dict(sorted({**source.rejected, **faults}.items()))
    write_tsv(Path(output, "rejected.tsv"), ["utterance", "reason"], list(rejected.items()))
    check_share(Path(output, "rejected.tsv"), rejected, len(durations) + len(rejected), max_rejected)
    data = replace(select(source.data, durations), utt2dur=durations)
    write(output, data)
    counts = write_trial_lists(source.trials, data, rejected, seed, output)
    contents = {**describe(data), "rejected": len(rejected), "trials": counts}
    write_manifest(Path(output, "manifest.json"), "prepare", contents, {**settings, "seed": seed})


def load(settings: Mapping[str, Any], allow_pipes: bool, scps: Sequence[str | Path]) -> Source:
    """The corpus that the settings name."""
    from spkdistill.data.corpora import kaldi, speechocean762, synthetic

    if isinstance(settings.get("trials"), list):
        settings = {**settings, "trials": dict.fromkeys(settings["trials"])}
    match settings.get("corpus"):
        case "synthetic":
            return synthetic.load(build(synthetic.SyntheticSettings, settings, "set"), scps)
        case "kaldi":
            return kaldi.load(build(kaldi.KaldiSettings, settings, "set"), allow_pipes)
        case "speechocean762":
            return speechocean762.load(build(speechocean762.SpeechOcean762Settings, settings, "set"))
        case other:
            raise ConfigError(
                f"set.corpus: {other!r} is unknown; known are synthetic, kaldi and speechocean762"
            )


def measure(data: DataDir, rate: int, allow_pipes: bool) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of each utterance that can be used, and what is wrong with the others, by their headers."""
    recordings = list(data.wav)
    batches = [recordings[first : first + BATCH] for first in range(0, len(recordings), BATCH)]

    def inspect(batch: list[str]) -> list[int | str]:
        return [samples_of(data.wav[recording], rate, allow_pipes) for recording in batch]

    with ThreadPoolExecutor(READERS) as pool:
        results = progress(pool.map(inspect, batches), len(batches), "headers", f"batches of {BATCH}")
        samples = dict(zip(recordings, (one for batch in results for one in batch), strict=True))
    found = samples if data.segments is None else segment_samples(data, samples, rate)
    durations = {
        id: count / rate for id, count in found.items() if isinstance(count, int) and id in data.utt2spk
    }
    return durations, {
        id: reason for id, reason in found.items() if isinstance(reason, str) and id in data.utt2spk
    }


def samples_of(location: str, rate: int, allow_pipes: bool) -> int | str:
    """How many samples a recording has, or why it cannot be used."""
    try:
        found_rate, samples, channels = audio.info(location, allow_pipes)
    except DataError as error:
        return one_line(error)
    if samples == 0:
        return f"{location}: empty, no samples"
    if channels != 1:
        return f"{location}: {channels} channels, expected 1"
    if found_rate != rate:
        return f"{location}: {found_rate} Hz, expected sample_rate {rate}"
    return samples


def segment_samples(data: DataDir, samples: Mapping[str, int | str], rate: int) -> dict[str, int | str]:
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


def one_line(error: DataError) -> str:
    """A reason that fits into a field of rejected.tsv, whatever is in the location that it quotes."""
    return " ".join(str(error).split())


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
    lists: Mapping[str, Trials | DrawSettings],
    data: DataDir,
    rejected: Mapping[str, str],
    seed: int,
    output: str | Path,
) -> dict[str, dict[str, int]]:
    """Write each list, and rejected_trials.tsv with the trials that name a rejected utterance; count them."""
    counts, left_out = {}, []
    for name, trials in lists.items():
        if isinstance(trials, DrawSettings):
            trials = draw_trials(data.spk2utt, data.spk2gender, trials, seed, name)
        keep = np.array(
            [e in data.utt2spk and t in data.utt2spk for e, t in zip(trials.enrol, trials.test, strict=True)],
            dtype=bool,
        )
        bad = [i for i in np.flatnonzero(~keep) if trials.enrol[i] in rejected or trials.test[i] in rejected]
        left_out += [[trials.enrol[i], trials.test[i], f"{name}: names a rejected utterance"] for i in bad]
        kept = select_trials(trials, keep)
        if not len(kept):
            raise DataError(
                f"{output}/{name}: no trial is left among the utterances of this set; check the trials, "
                "limit_speakers and rejected.tsv"
            )
        if kept.target.all() or not kept.target.any():
            only = "target" if kept.target.all() else "nontarget"
            raise DataError(
                f"{output}/{name}: every trial left is a {only}, and error rates need both kinds; add trials"
            )
        write_trials(Path(output, name), kept)
        targets = int(kept.target.sum())
        outside = len(trials) - len(kept) - len(bad)
        counts[name] = {
            "target": targets,
            "nontarget": len(kept) - targets,
            "rejected": len(bad),
            "outside_limit_speakers": outside,
        }
    write_tsv(Path(output, "rejected_trials.tsv"), ["enrol", "test", "reason"], left_out)
    return counts


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
