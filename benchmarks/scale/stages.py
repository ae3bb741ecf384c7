"""The stages that are no training, by their real commands, on made-up data up to the size of VoxCeleb2.

`python -m benchmarks.scale.stages`
"""

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.scale.synthetic import (
    COPIES,
    RATE,
    SIZES,
    UTTERANCES,
    utterance_ids,
    write_directory,
    write_index,
    write_num_frames,
)
from benchmarks.timing import Usage, report, spkdistill

from spkdistill.data.headers import write_headers
from spkdistill.provenance import start_run
from spkdistill.shards import shard

JOBS = 32
DIM = 16  # of the embeddings whose index is merged; their own bytes are not read
DRAW = {"enrol_utterances": 1, "targets_per_speaker": 50, "nontargets_per_speaker": 50, "same_sex": 0.75}
TASKS = {
    "inspect, a shard of 32: the directory checked, headers read": lambda folder: inspect(folder),
    "prepare: checked again, headers merged, directory written": lambda folder: prepare(folder, {}),
    "prepare, and 100 trials drawn for each speaker": lambda folder: prepare(folder, {"drawn": DRAW}),
    "views, one of each utterance": lambda folder: views(folder, 1),
    "views, four of each utterance": lambda folder: views(folder, 4),
    "merge the indexes of 32 shards of embeddings": lambda folder: merge(folder),
}
AUGMENTED = [0, 1, 3, 5]  # of the tasks, with the four copies


def main() -> None:
    """Measure each stage at each size, and its growth from 100,000 to 1.09 million utterances."""
    found: dict[str, list[Usage]] = {task: [] for task in TASKS}
    rows = []
    for size in SIZES:
        with TemporaryDirectory() as name:
            write_set(Path(name), utterance_ids(size))
            for task, run in TASKS.items():
                found[task].append(run(Path(name)))
                rows.append([task, size, *cells(found[task][-1]), "", ""])
                if len(found[task]) == len(SIZES):
                    rows[-1][-2:] = growth(found[task])
    with TemporaryDirectory() as name:
        write_set(Path(name), utterance_ids(UTTERANCES, COPIES))
        for task in (list(TASKS)[index] for index in AUGMENTED):
            used = TASKS[task](Path(name))
            rows.append([task, UTTERANCES * len(COPIES), *cells(used), *growth([found[task][-1], used], 4)])
    rows.sort(key=lambda row: (list(TASKS).index(row[0]), row[1]))
    columns = ["stage", "utterances", "wall, s", "CPU, s", "peak, MB", "time grows as n^", "memory as n^"]
    report("scale-stages", columns, rows)


def write_set(folder: Path, ids: list[str]) -> None:
    """A run with a data directory, frame counts, headers, and the embeddings' indexes."""
    start_run(folder, {}, [], {})  # so that stages leave their records, and look at those of others
    write_directory(folder / "data", ids)
    write_num_frames(folder / "utt2num_frames", ids)
    for job in range(1, JOBS + 1):
        write_headers(folder / f"headers.{job}", dict.fromkeys(shard(ids, job, JOBS), 8 * RATE))
    write_index(folder / "embeddings", ids, DIM, JOBS)


def inspect(folder: Path) -> Usage:
    """A shard of the headers."""
    settings = json.dumps(set_of(folder, {}))
    return spkdistill("inspect", "--settings", settings, "--job", 1, "--jobs", JOBS, "--output", folder / "1")


def prepare(folder: Path, trials: dict[str, object]) -> Usage:
    """The data directory, from headers that are there."""
    headers = [folder / f"headers.{job}" for job in range(1, JOBS + 1)]
    return spkdistill(
        *("prepare", "--settings", json.dumps(set_of(folder, trials)), "--headers", *headers),
        *("--seed", 0, "--max-rejected", 0, "--output-dir", folder / "prepared"),
    )


def views(folder: Path, count: int) -> Usage:
    """The views of every utterance."""
    settings = {"frames": 200, "per_utterance": count, "min_frames": 50, "min_utterances": 2}
    return spkdistill(
        *("views", "--num-frames", folder / "utt2num_frames", "--utt2spk", folder / "data/utt2spk"),
        *("--settings", json.dumps(settings), "--seed", 0, "--output", folder / "views.tsv"),
        *("--speakers", folder / "speakers", "--rejected", folder / "rejected.tsv"),
    )


def merge(folder: Path) -> Usage:
    """One index of all shards' embeddings."""
    parts = [folder / f"embeddings/xvector.{job}.scp" for job in range(1, JOBS + 1)]
    return spkdistill(
        *("merge", "--stage", "embed", "--parts", *parts, "--expected", folder / "data/utt2spk"),
        *("--output", folder / "embeddings/xvector.scp", "--manifest", folder / "embeddings/xvector.json"),
    )


def set_of(folder: Path, trials: dict[str, object]) -> dict[str, object]:
    """The settings of the made-up set."""
    return {
        "corpus": "kaldi",
        "directory": str(folder / "data"),
        "root": str(folder),
        "sample_rate": RATE,
        "channel": -1,
        "limit_speakers": None,
        "trials": trials,
    }


def growth(used: list[Usage], factor: float = SIZES[-1] / SIZES[-2]) -> list[str]:
    """The exponents of time and memory between the last two sizes."""
    before, after = used[-2:]
    return [f"{math.log(a / b, factor):.2f}" for a, b in ((after.cpu, before.cpu), (after.peak, before.peak))]


def cells(used: Usage) -> list[str]:
    """Times and memory, for a table."""
    return [f"{used.wall:.3g}", f"{used.cpu:.3g}", f"{used.peak:.0f}"]


if __name__ == "__main__":
    main()
