"""`python -m tests.fuzz`: feed every reader mutated files, and print what became of them."""

import argparse
import os
import sys
from pathlib import Path

from .harness import fuzz
from .readers import READERS


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="over all readers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS), metavar="READER")
    parser.add_argument("--failures", type=Path, default="fuzz-failures", help="folder for inputs that fail")
    parser.add_argument("--replay", metavar="FOLDER", help="read a saved input, without the watch")
    options = parser.parse_args()
    if options.replay:
        name = Path(options.replay).name.rpartition("-")[0]
        os.chdir(options.replay)
        READERS[name].read()
        return 0
    form = "{:24} {:>8} {:>9} {:>9} {:>9} {:>12} {:>8}"
    print(form.format("reader", "inputs", "accepted", "refused", "failures", "slowest ms", "peak MB"))
    wrong = []
    for name, row in fuzz(
        [READERS[name] for name in options.readers], options.inputs, options.seed, options.failures
    ):
        numbers = (
            row.inputs,
            row.accepted,
            row.refused,
            len(row.failures),
            f"{row.slowest:.0f}",
            f"{row.peak:.0f}",
        )
        print(form.format(name, *numbers), flush=True)
        wrong += row.failures
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
