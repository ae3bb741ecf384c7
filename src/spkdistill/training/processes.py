"""What the processes of one training tell each other; with one process every function here does nothing.

A step's batch is shared out: each process computes on a slice of it, weighted by the slice's share, so that
sums over the processes are means over the batch. Gradients are added up by one all-reduce after the backward
pass, not by DistributedDataParallel: that forms its buckets anew after the first step, so that a resumed
training of three processes or more would add in another order and end in other last digits.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from spkdistill.errors import ConfigError
from spkdistill.training.launch import Lost

TIMEOUT = timedelta(minutes=30)  # longer than it takes to write a checkpoint


@contextmanager
def joined(rank: int, size: int, rendezvous: str, local_rank: int, local_size: int) -> Iterator[None]:
    """Be process `rank` of `size` that meet at `rendezvous`, with a GPU of its own where there are any.

    The first process alone speaks on stderr; errors are raised in any of them.
    """
    gpus = torch.cuda.device_count()
    if gpus and local_size > gpus:
        raise ConfigError(f"training.processes: {local_size}, but this machine has {gpus} GPUs; lower it")
    if gpus:
        torch.cuda.set_device(local_rank)
    if local_size == size:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback())
    backend = "cpu:gloo,cuda:nccl" if gpus else "cpu:gloo"
    with telling_of_loss():
        distributed.init_process_group(
            backend, init_method=rendezvous, rank=rank, world_size=size, timeout=TIMEOUT
        )
    with redirect_stderr(open(os.devnull, "w")) if rank else nullcontext():
        yield
        any_of(False)  # none leaves before the first has written
    distributed.destroy_process_group()


def loopback() -> str:
    """The network interface that leads nowhere else."""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")


@contextmanager
def telling_of_loss() -> Iterator[None]:
    """The errors of torch.distributed, which say little more, as Lost."""
    try:
        yield
    except RuntimeError as error:
        detail = str(error).splitlines()[0]
        raise Lost(f"another process of the training is gone ({detail}); run again to go on") from None


def size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if size() > 1 else 0


def add_up(tensor: Tensor) -> Tensor:
    """The sum over the processes, in place."""
    if size() > 1:
        with telling_of_loss():
            distributed.all_reduce(tensor)
    return tensor


def gather(tensor: Tensor) -> Tensor:
    """The tensors (...) of all processes as (processes, ...), in their order."""
    gathered = [torch.empty_like(tensor) for _ in range(size())]
    with telling_of_loss():
        distributed.all_gather(gathered, tensor)
    return torch.stack(gathered)


def any_of(flag: bool) -> bool:
    """Whether it is true in any process; all wait for each other."""
    return bool(add_up(torch.tensor(int(flag))))


def of_first(number: int) -> int:
    """The first process's number."""
    return int(add_up(torch.tensor(number if rank() == 0 else 0)))


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Give the tensors the values that they have in the first process."""
    if size() > 1:
        with telling_of_loss():
            for tensor in tensors:
                distributed.broadcast(tensor, 0)


def add_up_gradients(module: nn.Module) -> None:
    """Add up the gradients of a module's parameters over the processes."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    flat = add_up(torch.cat([gradient.flatten() for gradient in gradients]))
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def add_up_terms(terms: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Means over the whole batch from those over this process's slice, which is `share` of it; scalars."""
    if size() == 1:
        return terms
    values = torch.stack([value.detach().double() for value in terms.values()])
    return dict(zip(terms, add_up(values * share), strict=True))
