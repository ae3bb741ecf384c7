"""Gather the tables of finished experiments into those of this folder.

    python docs/results/collect.py results/multilevel docs/results/multilevel-teachers teacher_ecapa

appends to multilevel-teachers.tsv what it lacks of results/multilevel/experiments/teacher_ecapa.tsv, and
puts into multilevel-teachers-paired.tsv all its paired tests by PLDA, or by --backend.
"""

import argparse
from pathlib import Path

MODEL = ("model", "backend", "trials")  # what a row is of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("experiments", nargs="+")
    parser.add_argument("--backend", default="plda")
    options = parser.parse_args()
    for name in options.experiments:
        add_rows(options.table.with_suffix(".tsv"), options.run / f"experiments/{name}.tsv")
        tests = options.run / f"metrics/paired/{name}"
        paired = options.table.with_name(f"{options.table.stem}-paired.tsv")
        add_tests(paired, name, "methods", tests / options.backend)
        add_tests(paired, name, "students", tests / "_students" / options.backend)


def add_rows(table: Path, source: Path) -> None:
    """Append the rows of an experiment's table whose models are not in `table`."""
    header, *rows = read(source)
    before = read(table) or [header]
    places = [header.index(column) for column in MODEL]
    known = {tuple(row[place] for place in places) for row in before[1:]}
    write(table, header, before + [row for row in rows if tuple(row[place] for place in places) not in known])


def add_tests(table: Path, experiment: str, compared: str, folder: Path) -> None:
    """Put the paired tests of `folder`, a file for each trial list, in the place of those of before."""
    for source in sorted(folder.glob("*.tsv")):
        header, *rows = read(source)
        header = ["experiment", "compared", *header]
        rows = [[experiment, compared, *map(rounded, row)] for row in rows]
        here = [experiment, compared, source.stem]
        before = read(table) or [header]
        write(table, header, [row for row in before if row[:3] != here] + rows)


def read(path: Path) -> list[list[str]]:
    """The lines of a table, its header first; none where there is no file."""
    return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []


def write(path: Path, header: list[str], lines: list[list[str]]) -> None:
    """Write a table, refusing lines of another one."""
    if lines[0] != header:
        raise SystemExit(f"{path}: has other columns than what is to be added")
    path.write_text("".join("\t".join(line) + "\n" for line in lines))


def rounded(text: str) -> str:
    """A number with six digits; any other text as it is."""
    try:
        return f"{float(text):.6g}"
    except ValueError:
        return text


if __name__ == "__main__":
    main()
