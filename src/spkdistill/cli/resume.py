"""`spkdistill resume`: go on with a run, whatever stopped it."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `resume`."""
    parser = commands.add_parser(
        "resume",
        help="go on with a run that stopped or was killed",
        usage="spkdistill resume [--lost-host HOST] [snakemake arguments]",
        description="End what an interrupted run left alive, here and on Slurm, remove its half-written files"
        " and its lock, and go on with `snakemake --rerun-incomplete`. Without arguments: with that run's.",
        allow_abbrev=False,
    )
    parser.add_argument("--lost-host", metavar="HOST", help="the run was started on HOST, which is gone")
    parser.set_defaults(run=resume, unknown=[])


def resume(options: argparse.Namespace) -> None:
    """Enter the directory that Snakemake is to work in, and resume there."""
    from spkdistill.resume import resume

    folder = Path.cwd()
    os.chdir(working_directory(options.unknown))
    resume(options.unknown, folder, options.lost_host)


def working_directory(arguments: Sequence[str]) -> str:
    """The `--directory` among Snakemake's arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--directory", "-d", default=".")
    return parser.parse_known_args(arguments)[0].directory
