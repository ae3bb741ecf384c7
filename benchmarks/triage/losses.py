"""Forward and backward of losses from cached logits, in turn: KD, DKD, and TRKD along its tau.

`python -m benchmarks.triage.losses`
"""

from collections.abc import Callable

import numpy as np
import torch
from benchmarks.timing import in_turn, report
from torch import Tensor

from spkdistill.distill.curriculum import TauSettings, tau_at
from spkdistill.distill.losses import dkd, kd, triage
from spkdistill.models.device import prepare

Batch = tuple[Tensor, Tensor, Tensor]  # logits of the student and of the teacher, and labels

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
        batch = logits(classes)
        seconds = in_turn(steps(batch), ROUNDS)
        ratios = {name: np.median(seconds[name] / seconds["DKD"]) for name in seconds}
        for name in seconds:
            size = set_size(batch, name) if name in TAUS else ""
            label = f"TRKD, tau {name:g}" if name in TAUS else name
            rows.append([classes, label, size, f"{np.median(seconds[name]):.3g}", f"{ratios[name]:.2f}"])
        taus = [tau_at(epoch, CURRICULUM) for epoch in range(EPOCHS)]
        along = np.interp(np.log(taus), np.log(TAUS[::-1]), [ratios[tau] for tau in TAUS[::-1]]).mean()
        mean = f"{along * np.median(seconds['DKD']):.3g}"
        rows.append([classes, "TRKD, mean over the paper's 150 epochs", "", mean, f"{along:.2f}"])
    report("triage-losses", ["classes", "loss", "classes in the set", "CPU s a step", "DKD = 1"], rows)


def steps(batch: Batch) -> dict[str | float, Callable[[], None]]:
    """The loss and its gradient of each objective; TRKD by its tau."""
    student, teacher, labels = batch
    losses = {
        "KD": lambda: kd(student, teacher, TEMPERATURE),
        "DKD": lambda: weighted(dkd(student, teacher, labels, TEMPERATURE)),
        **{tau: trkd(batch, tau) for tau in TAUS},
    }
    return {name: step(loss, student) for name, loss in losses.items()}


def logits(classes: int) -> Batch:
    """Logits s cos of a student and a teacher, (batch, classes), and labels: embeddings near their class."""
    random = torch.Generator().manual_seed(0)
    weights = torch.nn.functional.normalize(torch.randn(classes, DIM, generator=random))
    labels = torch.randint(classes, (BATCH,), generator=random)
    found = []
    for noise in (1.2, 0.8):
        spread = noise * torch.nn.functional.normalize(torch.randn(BATCH, DIM, generator=random))
        found.append(SCALE * torch.nn.functional.normalize(weights[labels] + spread) @ weights.T)
    return found[0].requires_grad_(), found[1], labels


def trkd(batch: Batch, tau: float) -> Callable[[], Tensor]:
    """TRKD's loss at a tau."""

    def run() -> Tensor:
        groups = triage(*batch, TEMPERATURE, tau)
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


def set_size(batch: Batch, tau: float) -> str:
    """The mean size of the confusion set."""
    with torch.no_grad():
        return f"{triage(*batch, TEMPERATURE, tau).size.double().mean():.0f}"


if __name__ == "__main__":
    main()
