"""`spkdistill doctor`: the state of a run's folder."""

import argparse
import os
from collections import Counter
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

from spkdistill.cli import build_parser, stage_of
from spkdistill.errors import DataError, printable

if TYPE_CHECKING:
    from spkdistill.provenance import Stage

ADVICE = {
    "damaged": "`--repair` removes them, and the next run makes them anew",
    "missing": "the next run makes them",
    "stale": "the next run makes them anew, and what follows from them",
    "left over": "yours to keep or remove",
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `doctor`."""
    parser = commands.add_parser(
        "doctor", help="what in a run's folder is damaged, missing, stale or left over, and why"
    )
    parser.add_argument("run_folder", type=Path, metavar="RESULTS/RUN", help="the folder of a run")
    parser.add_argument("--quick", action="store_true", help="read only files whose size or time has changed")
    parser.add_argument("--all", action="store_true", help="list what only follows from something stale, too")
    parser.add_argument(
        "--repair", action="store_true", help="remove what is damaged, so that the next run makes it anew"
    )
    parser.add_argument(
        "--accept", nargs="+", type=Path, default=[], metavar="FILE", help="record edited files as they are"
    )
    parser.add_argument(
        "--snakefile", type=Path, default=Path("Snakefile"), help="that of the run (Snakefile)"
    )
    parser.add_argument(
        "--configfile",
        nargs="+",
        type=Path,
        default=[],
        help="instead of those that the run was started with",
    )
    parser.set_defaults(run=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print what is wrong; exit status 1 if anything is."""
    from spkdistill.doctor import accept, examine, repair
    from spkdistill.provenance import RUN_FILE
    from spkdistill.resume import refuse_what_runs
    from spkdistill.resume.records import interrupted

    folder = Path(os.path.abspath(options.run_folder))  # `results` may be a link to another disk
    if not (folder / RUN_FILE).is_file():
        raise DataError(f"{options.run_folder}: no {RUN_FILE}, so no run of this version was started there")
    for path in options.accept:
        accept(path)
        print(f"accepted   {path}")
    snakefile = options.snakefile.resolve() if options.snakefile.exists() else None
    config_files = [path.resolve() for path in options.configfile]
    with chdir(folder.parents[1]):
        if options.repair:
            refuse_what_runs(interrupted(), None)
        run = folder.relative_to(folder.parents[1])
        findings = list(examine(run, options.quick, snakefile, config_files, read_stage))
        removed = repair(findings) if options.repair else []
    for kind, path, why in findings:
        if options.all or kind in ADVICE:
            print(printable(f"{'removed' if path in removed else kind:10} {path}: {why}"))
    counts = Counter(finding.kind for finding in findings)
    for kind, advice in ADVICE.items():
        if counts[kind]:
            print(f"{counts[kind]} {kind}: {advice}")
    if counts["to do"]:
        print(f"{counts['to do']} jobs have not been run yet")
    if counts["follows"]:
        print(f"{counts['follows']} more jobs follow from these (--all lists them)")
    if snakefile is None:
        print("no Snakefile here (--snakefile names one): what is missing or left over was not looked for")
    if not findings:
        print(f"{options.run_folder}: all is well")
    return int(any(path not in removed for _, path, _ in findings))


def read_stage(words: list[str]) -> "Stage | None":
    """The stage of a command's words; None for a command that is no stage."""
    options = build_parser().parse_args(words)
    return stage_of(options) if "writes" in options else None
