"""Progress of long work: a bar on a terminal, a line a minute in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, label: str, unit: str = "items") -> Iterator[Item]:
    """Yield `items`, reporting to stderr how many of `total` are done and how many a second."""
    terminal = sys.stderr.isatty()
    interval = 0.2 if terminal else 60.0
    start = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= interval:
            last = now
            report(label, done, total, unit, now - start, terminal)
    if terminal and done:
        report(label, done, total, unit, time.monotonic() - start, terminal)
        print(file=sys.stderr)


def report(label: str, done: int, total: int, unit: str, seconds: float, terminal: bool) -> None:
    """One line of progress, over the last one where there is a terminal."""
    text = f"{label}: {done}/{total} {unit}, {done / max(seconds, 1e-9):.1f} a second"
    if terminal:
        filled = 30 * done // max(total, 1)
        print(f"\r{text} [{'#' * filled}{'.' * (30 - filled)}]", end="", file=sys.stderr, flush=True)
    else:
        print(text, file=sys.stderr, flush=True)
