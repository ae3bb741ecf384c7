"""Times on a machine that has other work too, and tables of them.

Times are of the process's CPU (user and system), which on a quiet machine is the time on the clock of one
thread; what else runs takes turns on the core, and its turns do not count. What is left of it (cache, clock
rate, page faults) slows the unit as well: each run of a task is divided by a unit timed right before it.
"""

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

import numpy as np

from spkdistill.files import read_text, write_text

Name = TypeVar("Name")
RESULTS = Path(__file__).parent / "results"
UNIT = np.random.default_rng(0).standard_normal((2000, 2000))
COMMAND = """
import re, sys
from {module} import main
try:
    code = main()
except SystemExit as stopped:
    code = stopped.code
print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
sys.exit(code)
"""


@dataclass(frozen=True)
class Timing:
    """CPU seconds, and how many times those of a 2000 x 2000 float64 matrix product."""

    seconds: float
    units: float

    def cells(self) -> list[str]:
        """Both, for a table."""
        return [f"{self.seconds:.3g}", f"{self.units:.3g}"]


@dataclass(frozen=True)
class Usage:
    """What a command took: seconds on the clock and of CPU, and MB at its peak."""

    wall: float
    cpu: float
    peak: float


def timed(tasks: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """The medians of `repeats` runs of each task, the tasks in turn and a unit before each."""
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            unit = cpu_seconds(lambda: UNIT @ UNIT)
            seconds = cpu_seconds(task)
            runs[name].append((seconds, seconds / unit))
    return {name: Timing(*np.median(of_task, axis=0)) for name, of_task in runs.items()}


def in_turn(tasks: Mapping[Name, Callable[[], object]], rounds: int) -> dict[Name, np.ndarray]:
    """CPU seconds of each task in each round, the tasks in turn; a round before them warms up."""
    seconds = [[cpu_seconds(task) for task in tasks.values()] for _ in range(1 + rounds)]
    return dict(zip(tasks, np.array(seconds[1:]).T, strict=True))


def cpu_seconds(task: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    task()
    return time.process_time() - start


def spkdistill(*arguments: object) -> Usage:
    """Run a command of spkdistill in a process of its own."""
    return run_main("spkdistill.cli", *arguments)


def run_main(module: str, *arguments: object) -> Usage:
    """Run the `main` of a module in a process of its own.

    Its peak is that of its own memory (VmHWM): ru_maxrss would count this process's too, from before exec.
    """
    start = time.perf_counter()
    command = [sys.executable, "-c", COMMAND.format(module=module), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak = process.stdout.read().splitlines()[-1]
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{module} {arguments[0]} failed")
    return Usage(wall, used.ru_utime + used.ru_stime, int(peak) / 1e3)


def report(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, and write it to results/<name>.tsv under lines that say where it was measured."""
    cells = [list(columns), *(list(map(str, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{name}")
    for row in cells:
        first, *others = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join([first, *others]).rstrip())
    lines = [f"# {line}" for line in machine()] + ["\t".join(row) for row in cells]
    write_text(RESULTS / f"{name}.tsv", "\n".join(lines) + "\n")


def machine() -> list[str]:
    """Where and when: processor, load, versions."""
    processor = re.search(r"model name\s*:\s*(.*)", read_text("/proc/cpuinfo"))[1]
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    unit = np.median([cpu_seconds(lambda: UNIT @ UNIT) for _ in range(3)])
    return [
        f"{date.today()}, {processor}, {os.cpu_count()} cores, load average {load} (1, 5, 15 min)",
        f"Python {platform.python_version()}, numpy {np.__version__}, {blas['name']} {blas['version']}",
        f"unit, a 2000 x 2000 float64 matrix product on one thread: {unit:.3g} CPU seconds",
    ]
