"""Networks without numbers: what they are built of is known before any memory is taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

RANDOM_FILLS = {Tensor.uniform_, Tensor.normal_, Tensor.erfinv_}


@contextmanager
def shapes_only() -> Iterator[None]:
    """Tensors that are made in the block have a shape and no values, and are not filled with random ones."""
    with torch.device("meta"), Unfilled():
        yield


class Unfilled(TorchFunctionMode):
    """Leaves out the random values of new parameters.

    On tensors without values torch does this in Python and imports its compiler for it, seconds of every job.
    """

    def __torch_function__(
        self, function: Callable, types: Any, arguments: tuple = (), options: dict | None = None
    ) -> Any:
        """What torch calls in place of each of its functions."""
        return arguments[0] if function in RANDOM_FILLS else function(*arguments, **(options or {}))
