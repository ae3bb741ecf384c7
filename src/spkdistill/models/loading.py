"""Any network of a run, trained here or adopted from elsewhere."""

from pathlib import Path
from typing import Any

from torch import nn

from spkdistill.models.store import is_foreign, load, read_network_config


def load_network(
    model_path: str | Path, config_path: str | Path, trust: bool
) -> tuple[nn.Module, nn.Module | None, dict[str, Any]]:
    """(model, head or None, config) in eval mode; `trust` lets the program in a TorchScript file run."""
    if not is_foreign(read_network_config(config_path)[1]):
        return load(model_path, config_path)
    from spkdistill.models.foreign import load_foreign  # importing onnxruntime takes a third of a second

    return load_foreign(model_path, config_path, trust)
