"""A student's training step: from cached targets, with the teacher in the loop, and with no teacher at all.

`python -m benchmarks.offline.training`
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks.timing import in_turn, report

from spkdistill.arks import ArkWriter, VectorWriter
from spkdistill.distill.objectives import Moment, build_objectives
from spkdistill.distill.targets import TargetReader, Teacher, answers, side_by_side
from spkdistill.models.build import build_model
from spkdistill.models.cost import parameters
from spkdistill.models.device import prepare
from spkdistill.settings import build
from spkdistill.training.data import Inputs, TrainingData
from spkdistill.training.loop import build_optimizer, update
from spkdistill.training.networks import SpeakerTask, build_task, open_targets
from spkdistill.training.settings import TrainingSettings
from spkdistill.views import ViewSettings, make_views, write_speakers, write_views

TEACHERS = {  # x-vectors: channels of the frame layers, of the last one, and of the embedding
    "128": (128, 384, 128),
    "256": (256, 768, 256),
    "512, as Kaldi's": (512, 1500, 512),
}
PARTS = ("xvector", "narrow_bn", "wide_bn")
SPEAKERS, UTTERANCES, FRAMES, DIM = 1_000, 4, 300, 30
STEPS, ROUNDS = 3, 15  # steps in a run, runs of each kind
TRAINING = {
    "epochs": 1,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 0.002,
    "final_learning_rate": 0.00002,
    "warmup_epochs": 1,
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "precision": "auto",
    "threads": 1,
    "processes": 1,
    "spec_augment": None,
    "gradient_clip": None,
    "checkpoint_minutes": 60,
}
DISTIL = {"objective": "multilevel", "weight": 1, "targets": list(PARTS), "mean_norm": True}
DISTIL |= {"targets_of": "view", "form": "concat"}


class Corpus(NamedTuple):
    """What trainings read."""

    inputs: Inputs
    views: list[str]


def main() -> None:
    """A row for each teacher: medians over rounds of a step's CPU seconds, and of ratios in a round."""
    prepare(threads=1)
    rows = []
    with TemporaryDirectory() as name:
        corpus = make_corpus(Path(name))
        for teacher, (channels, pooling, embedding) in TEACHERS.items():
            sizes = dict(zip(PARTS, (embedding, channels, pooling), strict=True))
            cache = {
                storage: make_targets(Path(name) / storage, corpus, sizes, storage)
                for storage in ("float32", "two-byte")
            }
            model = {"channels": channels, "pooling_channels": pooling, "embedding": embedding}
            network = build_model({"arch": "xvector", **model}, DIM).eval()
            runs = kinds(corpus, cache, network, sum(sizes.values()))
            seconds = {kind: run / STEPS for kind, run in in_turn(runs, ROUNDS).items()}
            rows.append([teacher, parameters(network), sum(sizes.values()), *cells(seconds)])
    columns = ["teacher", "parameters", "student's embedding", "no teacher, s", "cache, s", "loop, s"]
    columns += ["targets read, s", "two-byte read, s", "cache / no teacher", "two-byte cache / no teacher"]
    report("offline", [*columns, "cache and classification / no teacher", "loop / cache"], rows)


def kinds(
    corpus: Corpus, cache: dict[str, dict[str, Path]], teacher: torch.nn.Module, embedding: int
) -> dict[str, Callable[[], None]]:
    """Runs of STEPS steps, by what is trained."""
    alone, beside = ({**DISTIL, "classification_weight": weight} for weight in (0, 1))
    return {
        "read": reads(corpus, cache["float32"]),
        "read two-byte": reads(corpus, cache["two-byte"]),
        "none": steps(corpus, {"objective": "none"}, {}, embedding),
        "cache": steps(corpus, alone, cache["float32"], embedding),
        "two-byte": steps(corpus, alone, cache["two-byte"], embedding),
        "beside": steps(corpus, beside, cache["float32"], embedding),
        "loop": steps(corpus, alone, cache["float32"], embedding, teacher),
    }


def reads(corpus: Corpus, scps: dict[str, Path]) -> Callable[[], None]:
    """The targets of STEPS batches, without a student."""
    random, reader = np.random.default_rng(0), TargetReader(scps, mean_norm=True)

    def run() -> None:
        for _ in range(STEPS):
            reader.batch([corpus.views[row] for row in random.choice(len(corpus.views), 64)])

    return run


def steps(
    corpus: Corpus,
    distil: dict[str, Any],
    scps: dict[str, Path],
    embedding: int,
    teacher: torch.nn.Module | None = None,
) -> Callable[[], None]:
    """A fc8 student that goes on by STEPS steps when called; `teacher` is to answer instead of the cache."""
    torch.manual_seed(0)
    settings = build(TrainingSettings, TRAINING, "training")
    objectives = build_objectives(distil, "distil")
    targets = open_targets(objectives, scps, "student")
    data = TrainingData(corpus.inputs, targets, settings.batch_size, None, 0, "student")
    student = {"arch": "fc8", "channels": 256, "layers": 8, "embedding": embedding}
    task = build_task(student, {"kind": "aam", "scale": 32.0, "margin": 0.2}, objectives, data).train()
    if teacher is not None:
        data.targets = ()
        task = InTheLoop(task, teacher)
    optimizer, done = build_optimizer(task, settings), 0

    def run() -> None:
        nonlocal done
        for batch in data.batches(done, done + STEPS):
            update(task, optimizer, batch, Moment(0, 0), settings)
        done += STEPS

    return run


class InTheLoop(torch.nn.Module):
    """A student whose teacher answers for each batch, in float32 as when it is dumped."""

    def __init__(self, student: SpeakerTask, teacher: torch.nn.Module) -> None:
        super().__init__()
        self.student = student
        self.ask = lambda features: answers(Teacher(teacher, None, torch.nn.ModuleDict()), features, PARTS)

    def forward(self, batch: Any, moment: Moment) -> tuple:
        """The student's loss on the teacher's answers."""
        with torch.autocast("cpu", enabled=False):
            found = self.ask(batch.features)
        targets = torch.from_numpy(side_by_side([found[part].numpy() for part in PARTS]))
        return self.student(batch._replace(targets=(targets,)), moment)


def cells(seconds: dict[str, np.ndarray]) -> list[str]:
    """Medians: seconds, and ratios within a round."""
    medians = [np.median(seconds[kind]) for kind in ("none", "cache", "loop", "read", "read two-byte")]
    pairs = [("cache", "none"), ("two-byte", "none"), ("beside", "none"), ("loop", "cache")]
    ratios = [np.median(seconds[one] / seconds[other]) for one, other in pairs]
    return [f"{value:.3g}" for value in medians] + [f"{value:.3f}" for value in ratios]


def make_corpus(folder: Path) -> Corpus:
    """Made-up features of every speaker's utterances, stored as the recipe does, and two views of each."""
    random = np.random.default_rng(0)
    frames = {f"id{s:05d}-{u:03d}": FRAMES for s in range(SPEAKERS) for u in range(UTTERANCES)}
    inputs = Inputs(*(folder / name for name in ("views.tsv", "speakers", "voiced.scp")))
    with ArkWriter(folder / "voiced.ark", inputs.features, "two-byte-auto") as writer:
        for utterance in frames:
            writer.write(utterance, random.standard_normal((FRAMES, DIM)).astype(np.float32))
    settings = ViewSettings(frames=200, per_utterance=2, min_frames=1, min_utterances=1)
    views, _ = make_views(frames, {key: key.partition("-")[0] for key in frames}, settings, 0)
    write_views(inputs.views, views)
    write_speakers(inputs.speakers, views)
    return Corpus(inputs, views.ids)


def make_targets(folder: Path, corpus: Corpus, sizes: dict[str, int], storage: str) -> dict[str, Path]:
    """Made-up targets: {part: scp}."""
    random, scps = np.random.default_rng(0), {}
    for part, size in sizes.items():
        scps[part] = folder / f"{part}.scp"
        with VectorWriter(folder / f"{part}.ark", scps[part], folder / f"{part}.json", storage) as writer:
            for view in corpus.views:
                writer.write(view, random.standard_normal(size, dtype=np.float32))
    return scps


if __name__ == "__main__":
    main()
