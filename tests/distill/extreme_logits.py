"""Every loss, of random batches in bfloat16 with extreme values: are loss and gradient finite?

`python tests/distill/extreme_logits.py [BATCHES]`
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from spkdistill.distill.losses import (
    cosine_distance,
    dist,
    dkd,
    gkd,
    kd,
    squared_distance,
    standardised,
    triage,
)
from spkdistill.models.device import prepare
from spkdistill.models.heads import with_margin

CLASSES = 18_000
BATCHES = 10_000
SCALE, MARGIN = 32, 0.2
Loss = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]


def main() -> None:
    """Stop at the first loss or gradient that is not finite."""
    prepare(threads=1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else BATCHES
    for place, batch in enumerate(batches(count, CLASSES)):
        if bad := first_infinite(*batch):
            raise SystemExit(f"batch {place}: {bad} is not finite")
    print(f"{count} batches of {CLASSES} classes in bfloat16: losses and gradients are finite")


def batches(count: int, classes: int) -> Iterator[tuple[Tensor, Tensor, Tensor, float, float]]:
    """Student's and teacher's logits, labels, temperature and tau; rows differ in scale by 10^-2 to 10^5."""
    for place in range(count):
        random = np.random.default_rng(place)
        rows = int(random.integers(2, 9))
        pair = []
        for _ in range(2):
            values = random.standard_normal((rows, classes), dtype=np.float32)
            values *= np.float32(10) ** random.uniform(-2, 5, size=(rows, 1)).astype(np.float32)
            spikes = random.integers(classes, size=(rows, int(random.integers(4))))
            np.put_along_axis(values, spikes, random.choice([-1e8, -1e4, 1e4, 1e8]), axis=1)
            if random.random() < 0.1:
                values[0] = values[0, 0]  # all classes alike
            pair.append(torch.from_numpy(values).bfloat16())
        labels = torch.from_numpy(random.integers(classes, size=rows))
        if random.random() < 0.5:
            labels = pair[1].argmax(1)
        tau = float(random.choice([1e-6, 0.05, 0.5, 0.9, 0.999999, 1.0]))
        yield *pair, labels, float(random.choice([0.1, 1.0, 4.0])), tau


LOSSES: dict[str, Loss] = {
    "KD": lambda s, t, y, T, tau: kd(s, t, T),
    "KD standardised": lambda s, t, y, T, tau: kd(standardised(s), standardised(t), T),
    "KD with margins": lambda s, t, y, T, tau: kd(margined(s, y), margined(t, y), T),
    "DKD": lambda s, t, y, T, tau: sum(dkd(s, t, y, T)),
    "DKD standardised": lambda s, t, y, T, tau: sum(dkd(standardised(s), standardised(t), y, T)),
    "GKD": lambda s, t, y, T, tau: sum(gkd(s, t, y, T, 20)),
    "DIST": lambda s, t, y, T, tau: sum(dist(s, t, T)),
    "TRKD": lambda s, t, y, T, tau: trkd(s, t, y, T, tau),
    "TRKD with every term": lambda s, t, y, T, tau: every_term(s, t, y, T, tau, "renormalised"),
    "TRKD absolute": lambda s, t, y, T, tau: every_term(s, t, y, T, tau, "absolute"),
    "cosine": lambda s, t, y, T, tau: cosine_distance(s[:, :256], t[:, :256]),
    "MSE": lambda s, t, y, T, tau: squared_distance(s[:, :256], t[:, :256]),
}


def margined(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits with the margin of an AAM head."""
    return SCALE * with_margin(logits / SCALE, labels, MARGIN)


def trkd(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, tau: float) -> Tensor:
    """The terms of TRKD, as it is trained."""
    groups = triage(student, teacher, labels, temperature, tau)
    return (groups.tmkd() + groups.within_confusion).mean()


def every_term(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, tau: float, mass: str
) -> Tensor:
    """All terms of TRKD and of its ablation."""
    groups = triage(student, teacher, labels, temperature, tau, mass, background=True)
    masses = groups.tmkd() + groups.tckd()
    return (masses + groups.within_confusion + groups.within_background + groups.nckd()).mean()


def first_infinite(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float, tau: float
) -> str | None:
    """The name of a loss that is not finite, or whose gradient is not."""
    for name, loss in LOSSES.items():
        own = student.clone().requires_grad_(True)
        value = loss(own, teacher, labels, temperature, tau)
        value.backward()
        if not (value.isfinite() and own.grad.isfinite().all()):
            return f"{name} (T {temperature:g}, tau {tau:g})"
    return None


if __name__ == "__main__":
    main()
