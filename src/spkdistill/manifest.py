"""The manifest beside an artifact: what it holds and what made it; the same bytes whenever it is made."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from spkdistill import __version__
from spkdistill.files import write_json


def write_manifest(
    path: str | Path, stage: str, contents: dict[str, Any], settings: dict[str, Any] | None = None
) -> None:
    """Write a manifest: `contents` are counts, dimensions and types; `settings` the config the stage saw."""
    write_json(path, {"stage": stage, "contents": contents, "settings": settings or {}, "made_by": made_by()})


def made_by() -> dict[str, str]:
    """The versions that an artifact depends on."""
    return {"spkdistill": __version__, **{name: version(name) for name in ("numpy", "torch")}}
