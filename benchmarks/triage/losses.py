"""Forward and backward of the distillation losses from cached logits, in turn: KD, DKD, and TRKD along its tau.

`python -m benchmarks.triage.losses`
"""

from collections.abc import Callable

import numpy as np
import torch
from benchmarks.timing import cpu_seconds, report
from torch import Tensor

from spkdistill.distill.curriculum import TauSettings, tau_at
from spkdistill.distill.losses import dkd, kd, triage
from spkdistill.models.device import prepare

BATCH, CLASSES = 512, (5_994, 17_982)  # VoxCeleb2, and with its speed-perturbed copies as speakers
SCALE, DIM, TEMPERATURE = 32.0, 192, 4.0
EPOCHS = 150
CURRICULUM = TauSettings(1.0, 0.05, None, None, 10, 60, "epochs", 0.001)  # the paper's
TAUS = (1.0, 0.5, 0.2, 0.1, 0.05)
ROUNDS = 15


def main() -> None:
    """A row for each number of classes: medians over rounds of CPU seconds, and of ratios in a round."""
    prepare(threads=1)
    rows = []
    for classes in CLASSES:
        student, teacher, labels = logits(classes)
        runs = {"kd": lambda: kd(student, teacher, TEMPERATURE)}
        runs["dkd"] = lambda: weighted(dkd(student, teacher, labels, TEMPERATURE))
        runs |= {tau: trkd(student, teacher, labels, tau) for tau in TAUS}
        seconds = measured({name: step(run, student) for name, run in runs.items()})
        dkd_seconds = np.median(seconds["dkd"])
        for name in runs:
            ratio = np.median(seconds[name] / seconds["dkd"])
            size = "" if isinstance(name, str) else set_size(student, teacher, labels, name)
            label = name.upper() if isinstance(name, str) else f"TRKD, tau {name:g}"
            rows.append([classes, label, size, f"{np.median(seconds[name]):.3g}", f"{ratio:.2f}"])
        taus = [tau_at(epoch, CURRICULUM) for epoch in range(EPOCHS)]
        ratios = [np.median(seconds[tau] / seconds["dkd"]) for tau in TAUS]
        mean = np.interp(np.log(taus), np.log(TAUS[::-1]), ratios[::-1]).mean()
        rows.append([classes, "TRKD, the paper's curriculum", "", f"{mean * dkd_seconds:.3g}", f"{mean:.2f}"])
    report("triage-losses", ["classes", "loss", "classes in the set", "CPU s a step", "DKD = 1"], rows)


def logits(classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits s cos of a student and a teacher, (batch, classes), and labels: embeddings near their class."""
    random = torch.Generator().manual_seed(0)
    weights = torch.nn.functional.normalize(torch.randn(classes, DIM, generator=random))
    labels = torch.randint(classes, (BATCH,), generator=random)
    found = []
    for noise in (1.2, 0.8):
        spread = noise * torch.nn.functional.normalize(torch.randn(BATCH, DIM, generator=random))
        found.append(SCALE * torch.nn.functional.normalize(weights[labels] + spread) @ weights.T)
    return found[0].requires_grad_(), found[1], labels


def trkd(student: Tensor, teacher: Tensor, labels: Tensor, tau: float) -> Callable[[], Tensor]:
    """TRKD's loss at a tau."""

    def run() -> Tensor:
        groups = triage(student, teacher, labels, TEMPERATURE, tau)
        return weighted((groups.tmkd().mean(), groups.within_confusion.mean()))

    return run


def weighted(terms: tuple[Tensor, Tensor]) -> Tensor:
    """The first term + 8 times the second."""
    return terms[0] + 8 * terms[1]


def step(loss: Callable[[], Tensor], student: Tensor) -> Callable[[], None]:
    """The loss and its gradient."""

    def run() -> None:
        student.grad = None
        loss().backward()

    return run


def set_size(student: Tensor, teacher: Tensor, labels: Tensor, tau: float) -> str:
    """The mean size of the confusion set."""
    with torch.no_grad():
        return f"{triage(student, teacher, labels, TEMPERATURE, tau).size.double().mean():.0f}"


def measured(runs: dict[str, Callable[[], None]]) -> dict[str, np.ndarray]:
    """CPU seconds of each in each round; the first round warms up and is dropped."""
    rounds = [{name: cpu_seconds(run) for name, run in runs.items()} for _ in range(1 + ROUNDS)]
    return {name: np.array([one[name] for one in rounds[1:]]) for name in runs}


if __name__ == "__main__":
    main()
