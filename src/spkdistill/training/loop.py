"""The one training loop, of teachers, students and aggregators alike."""

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spkdistill.distill.objectives import Moment
from spkdistill.errors import ConfigError, SpkdistillError
from spkdistill.files import write_tsv
from spkdistill.models.device import arithmetic
from spkdistill.progress import progress
from spkdistill.seeds import derive_seed
from spkdistill.training import checkpoint, processes
from spkdistill.training.batch_norm import synchronise
from spkdistill.training.data import Batch, TrainingData
from spkdistill.training.schedule import learning_rate
from spkdistill.training.settings import TrainingSettings, check_shares


class Outputs(NamedTuple):
    """The files that every training writes, when it is complete."""

    model: str | Path
    config: str | Path
    log: str | Path


class Interrupted(SpkdistillError):
    """A signal stopped a training, whose checkpoint is saved."""


def train(
    task: nn.Module,
    data: TrainingData,
    settings: TrainingSettings,
    name: str,
    work: str | Path,
    identity: str,
) -> "Log":
    """Train `task` in place, on the device where its parameters are; returns the log.

    `task(batch, moment)` gives the loss and a dict of terms to log. Checkpoints go to `work` at the end of
    each epoch, every `checkpoint_minutes`, and before SIGTERM or SIGINT ends the training (Interrupted). One
    of the same `identity` is gone on from, to the bytes that an unbroken training would have given. Where
    there are several processes, each calls this; the first alone writes, and all end with the same weights.
    """
    check_shares(len(data.views), settings.processes, name)
    if processes.size() > 1:
        synchronise(task)
        processes.copy_from_first(task.state_dict().values())
    optimizer, log = build_optimizer(task, settings), Log()
    per_epoch, first = data.steps_per_epoch, 0
    steps = settings.epochs * per_epoch
    holding = checkpoint.held(work) if processes.rank() == 0 else nullcontext()
    with holding, stop_signals() as caught:
        if resumed := resume(work, identity):
            first, state, tensors = resumed
            log = Log(**state)
            checkpoint.unpack(tensors, task, optimizer)
        task.train()
        saved = time.monotonic()
        for step, batch in enumerate(
            progress(data.batches(first, steps), steps - first, name, "steps"), first
        ):
            rate = set_learning_rate(optimizer, step, steps, per_epoch, settings)
            torch.manual_seed(derive_seed(data.seed, data.stage, f"step {step}"))
            moment = Moment(epoch=step / per_epoch, fraction=step / steps)
            log.add(update(task, optimizer, batch, moment, settings))

            done = step + 1
            stopping = processes.any_of(bool(caught)) and done < steps
            if done % per_epoch == 0:
                log.end_epoch(name, rate)
            due = time.monotonic() - saved > 60 * settings.checkpoint_minutes
            if done % per_epoch == 0 or stopping or due:
                log.check(name)
                if processes.rank() == 0:
                    checkpoint.save(work, identity, done, log.state(), checkpoint.pack(task, optimizer))
                saved = time.monotonic()
            if stopping:
                processes.any_of(stopping)  # the first process has written
                raise Interrupted(
                    f"{name}: stopped at step {done} of {steps}; run again to go on from {work}"
                )
    return log


def resume(work: str | Path, identity: str) -> tuple[int, dict, dict[str, Tensor]] | None:
    """The checkpoint to go on from, as `checkpoint.load` gives it; the first process chooses for all."""
    if processes.rank() == 0:
        found = checkpoint.load(work, identity)
        processes.of_first(found[0] if found else 0)
        return found
    step = processes.of_first(0)
    return checkpoint.read(checkpoint.path_of(work, step), identity) if step else None


def update(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    moment: Moment,
    settings: TrainingSettings,
) -> dict[str, Tensor]:
    """One step of the optimiser; returns the loss and the task's terms, means over the whole batch."""
    device = next(task.parameters()).device
    in_bfloat16 = arithmetic(settings.precision, device) == "bfloat16"
    with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
        loss, terms = task(batch.to(device), moment)
    optimizer.zero_grad()
    (loss if batch.share == 1 else loss * batch.share).backward()
    processes.add_up_gradients(task)
    if settings.gradient_clip is not None:
        nn.utils.clip_grad_norm_(task.parameters(), settings.gradient_clip)
    optimizer.step()
    return processes.add_up_terms({"loss": loss, **terms}, batch.share)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, step: int, steps: int, per_epoch: int, settings: TrainingSettings
) -> float:
    """Give the optimiser the learning rate of a step, and return it."""
    warmup_steps = round(settings.warmup_epochs * per_epoch)
    rate = learning_rate(step, steps, warmup_steps, settings.learning_rate, settings.final_learning_rate)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def build_optimizer(task: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser of all parameters of `task`."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            task.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        task.parameters(),
        settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


class Log:
    """Means of the terms over each epoch: `rows`, and the sums of the epoch under way."""

    def __init__(
        self, columns: Sequence[str] = (), rows: Sequence = (), sums: Sequence = (), steps: int = 0
    ) -> None:
        """Empty, or what `state` gave."""
        self.columns, self.rows, self.steps = list(columns), list(rows), steps
        self.sums = torch.tensor(sums, dtype=torch.float64)
        self.since = time.monotonic()

    def state(self) -> dict:
        """All that a checkpoint keeps, for JSON."""
        return {"columns": self.columns, "rows": self.rows, "sums": self.sums.tolist(), "steps": self.steps}

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add a step's scalars, without waiting for the device."""
        values = torch.stack([value.detach().double() for value in terms.values()])
        self.sums = self.sums.to(values.device) + values if self.steps else values
        self.columns, self.steps = list(terms), self.steps + 1

    def end_epoch(self, name: str, rate: float) -> None:
        """Close the epoch with a row of means; the time it took goes to stderr only."""
        self.check(name)
        means = (self.sums / self.steps).tolist()
        self.rows.append([len(self.rows) + 1, rate, *means])
        terms = ", ".join(f"{column} {mean:.4g}" for column, mean in zip(self.columns, means, strict=True))
        seconds = time.monotonic() - self.since
        print(f"{name}: epoch {len(self.rows)}, {terms}, {seconds:.1f} s", file=sys.stderr, flush=True)
        self.steps, self.since = 0, time.monotonic()

    def check(self, name: str) -> None:
        """Raise ConfigError if a term was infinite or not a number since the epoch began."""
        if self.steps and not self.sums.isfinite().all():
            epoch = len(self.rows) + 1
            advice = "lower training.learning_rate or set training.gradient_clip"
            raise ConfigError(f"{name}: the loss is not finite in epoch {epoch}; {advice}")

    def write(self, path: str | Path) -> None:
        """Write log.tsv: a row an epoch."""
        rows = [[epoch, *(f"{value:.6g}" for value in values)] for epoch, *values in self.rows]
        write_tsv(path, ["epoch", "learning_rate", *self.columns], rows)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT in a list instead of dying from them."""
    caught: list[int] = []
    numbers = signal.SIGTERM, signal.SIGINT
    previous = [
        signal.signal(number, lambda caught_number, frame: caught.append(caught_number)) for number in numbers
    ]
    try:
        yield caught
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
