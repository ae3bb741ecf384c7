"""The three caches of a teacher's logits: bytes of a view, views read a second, and steps of a student.

`python -m benchmarks.triage.caches`
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from benchmarks.timing import in_turn, report

from spkdistill.arks import ArkWriter, TopKWriter, VectorWriter, describe
from spkdistill.config import check_against
from spkdistill.distill.logits import cut_to_largest, layout_for, save_head
from spkdistill.distill.objectives import Moment, build_objectives
from spkdistill.distill.targets import TargetReader
from spkdistill.models.build import build_head
from spkdistill.models.device import prepare
from spkdistill.settings import build
from spkdistill.training.data import Inputs, TrainingData
from spkdistill.training.loop import build_optimizer, update
from spkdistill.training.networks import build_task, open_targets
from spkdistill.training.settings import TrainingSettings
from spkdistill.views import Views, ViewSettings, make_views, write_views

CLASSES = (5_994, 17_982)  # VoxCeleb2, and with its speed-perturbed copies as speakers
BATCHES = (64, 512)
VIEWS, FRAMES, DIM = 2_048, 200, 80
EMBEDDING, K, TEMPERATURE = 256, 64, 4.0
HEAD = {"kind": "aam", "scale": 32.0, "margin": 0.2}
STUDENT = {"arch": "xvector", "channels": 64, "pooling_channels": 192, "embedding": 128}
FORMS = ("dense", "dense, two-byte", "topk", "factored")
READS, ROUNDS = 8, 7
SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"


def main() -> None:
    """A row for each number of classes, batch and form: medians over rounds of CPU seconds, and ratios.

    Students learn by KD, and in one row by TRKD with the last tau of its paper.
    """
    prepare(threads=1)
    rows = []
    for classes in CLASSES:
        with TemporaryDirectory() as name:
            inputs, views = make_corpus(Path(name), classes)
            caches = make_caches(Path(name), views, classes)
            for batch in BATCHES:
                reads = {form: reading(cache, views.ids, batch) for form, cache in caches.items()}
                read = in_turn(reads, ROUNDS)
                runs = {"no teacher": steps(inputs, {"objective": "none"}, {}, batch)}
                runs["read before"] = steps(inputs, KD, caches["dense"], batch, read_once=True)
                runs |= {form: steps(inputs, KD, cache, batch) for form, cache in caches.items()}
                runs["factored, TRKD"] = steps(inputs, TRKD, caches["factored"], batch)
                step = in_turn(runs, ROUNDS)
                for form in runs:
                    cells = ["", ""]
                    if form in caches:
                        rate = READS * batch / np.median(read[form])
                        cells = [f"{bytes_of(caches[form]):.0f}", f"{rate:.3g}"]
                    ratios = [step[form] / step[other] for other in ("no teacher", "read before")]
                    cells += [
                        f"{1 / np.median(step[form]):.3g}",
                        *(f"{np.median(one):.2f}" for one in ratios),
                    ]
                    rows.append([classes, batch, form, *cells])
    columns = ["classes", "batch", "cache", "bytes of a view", "views read a CPU s", "steps a CPU s"]
    report("triage-caches", [*columns, "s a step, no teacher = 1", "s a step, read before = 1"], rows)


def with_defaults(rule: str, given: dict[str, Any]) -> dict[str, Any]:
    """Settings with the defaults of a rule of the schema."""
    rules = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    check_against(given, {"$ref": f"#/$defs/{rule}", "$defs": rules})
    return given


KD = with_defaults("objective", {"objective": "kd", "temperature": TEMPERATURE})  # the cheapest hides least
TRKD = with_defaults("objective", {"objective": "trkd", "temperature": TEMPERATURE, "tau": 0.05})


def make_corpus(folder: Path, classes: int) -> tuple[Inputs, Views]:
    """Made-up features, a view of each utterance, and a list of speakers of whom a view in a few is there."""
    random = np.random.default_rng(0)
    speakers = [f"id{number:05d}" for number in range(classes)]
    utterances = {f"{speakers[n]}-0": FRAMES for n in sorted(random.choice(classes, VIEWS, replace=False))}
    inputs = Inputs(*(folder / name for name in ("views.tsv", "speakers", "voiced.scp")))
    with ArkWriter(folder / "voiced.ark", inputs.features, "two-byte-auto") as writer:
        for utterance in utterances:
            writer.write(utterance, random.standard_normal((FRAMES, DIM)).astype(np.float32))
    settings = ViewSettings(frames=FRAMES, per_utterance=1, min_frames=1, min_utterances=1)
    views, _ = make_views(utterances, {key: key[:7] for key in utterances}, settings, 0)
    write_views(inputs.views, views)
    inputs.speakers.write_text("".join(f"{speaker}\n" for speaker in speakers))
    return inputs, views


def make_caches(folder: Path, views: Views, classes: int) -> dict[str, dict[str, Path]]:
    """The logits of embeddings near the weights of their class, in each form: {form: {part: file}}."""
    torch.manual_seed(0)
    head = build_head(HEAD, EMBEDDING, classes)
    target = torch.tensor([int(speaker[2:]) for speaker in views.speakers])
    weights = torch.nn.functional.normalize(head.weight.detach()[target])
    noise = torch.nn.functional.normalize(torch.randn(VIEWS, EMBEDDING))
    embeddings, layout = weights + 0.8 * noise, layout_for(classes, K, [TEMPERATURE])
    names = {form: [folder / f"{form}.{kind}" for kind in ("ark", "scp", "json")] for form in FORMS}
    with (
        VectorWriter(*names["dense"], "float32") as dense,
        VectorWriter(*names["dense, two-byte"], "two-byte") as two_byte,
        TopKWriter(*names["topk"], layout) as topk,
        VectorWriter(*names["factored"], "float32") as factored,
        torch.no_grad(),
    ):
        for start in range(0, VIEWS, 64):
            rows = slice(start, start + 64)
            logits = head.plain(embeddings[rows])
            kept = cut_to_largest(logits, target[rows], layout)
            for row, key in enumerate(views.ids[rows]):
                dense.write(key, logits[row].numpy())
                two_byte.write(key, logits[row].numpy())
                topk.write(key, kept[row].numpy())
                factored.write(key, embeddings[start + row].numpy())
    save_head(folder / "head.safetensors", head, HEAD, classes)
    caches = {form: {"logits": paths[1]} for form, paths in names.items()}
    caches["factored"]["head"] = folder / "head.safetensors"
    return caches


def bytes_of(cache: dict[str, Path]) -> float:
    """Bytes of a view in its archive, its key included."""
    return describe(cache["logits"])["bytes"] / VIEWS


def reading(cache: dict[str, Path], ids: list[str], batch: int) -> Callable[[], None]:
    """The logits of READS batches of views in random order."""
    random, reader = np.random.default_rng(0), TargetReader(cache, False, TEMPERATURE)

    def run() -> None:
        for _ in range(READS):
            reader.logits([ids[row] for row in random.choice(len(ids), batch, replace=False)])

    return run


def steps(
    inputs: Inputs, distil: dict[str, Any], cache: dict[str, Path], batch: int, read_once: bool = False
) -> Callable[[], None]:
    """A step of a student; with `read_once` all of its batches have logits that were read before."""
    torch.manual_seed(0)
    training = with_defaults("training", {"threads": 1, "batch_size": batch})
    settings = build(TrainingSettings, training, "training")
    objectives = build_objectives(distil, "distil")
    targets = open_targets(objectives, cache, "student")
    data = TrainingData(inputs, targets, batch, None, 0, "student")
    task = build_task(STUDENT, HEAD, objectives, data).train()
    if read_once:
        logits = targets[0].read(data.views.ids[:batch])
        data.targets = (targets[0]._replace(read=lambda ids: logits[: len(ids)]),)
    optimizer, done = build_optimizer(task, settings), 0

    def run() -> None:
        nonlocal done
        for one in data.batches(done, done + 1):
            update(task, optimizer, one, Moment(0, 0), settings)
        done += 1

    return run


if __name__ == "__main__":
    main()
