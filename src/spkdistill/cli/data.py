"""`spkdistill synthesise | inspect | prepare`: recordings, and the data directories of the sets."""

import argparse
from pathlib import Path

from spkdistill.cli import add_settings, share, stage


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `synthesise`, `inspect` and `prepare`."""
    parser = commands.add_parser("synthesise", help="synthesise a shard of a synthetic set")
    add_settings(parser)
    parser.add_argument("--seed", required=True, type=int)
    add_shard(parser)
    parser.add_argument("--ark", required=True, metavar="ARK", help="wave files to write")
    parser.add_argument("--scp", required=True, metavar="SCP", help="their index, to write")
    parser.add_argument("--headers", required=True, metavar="TSV", help="the samples of each, to write")
    stage(parser, synthesise, "data.corpora.synthetic", [], ["ark", "scp", "headers"])

    parser = commands.add_parser("inspect", help="read the headers of a shard of a corpus's recordings")
    add_settings(parser)
    add_shard(parser)
    add_allow_pipes(parser)
    parser.add_argument("--allow-outside", action="store_true", help="also outside of the set's folders")
    parser.add_argument("--output", required=True, metavar="TSV", help="samples or fault of each, to write")
    stage(parser, inspect, "data.inspect", [corpus_files], ["output"])

    parser = commands.add_parser("prepare", help="check a corpus and write its Kaldi data directory")
    add_settings(parser)
    parser.add_argument("--seed", required=True, type=int, help="draws trials")
    parser.add_argument(
        "--max-rejected", required=True, type=share, help="share of utterances that may be of no use"
    )
    parser.add_argument(
        "--speeds",
        nargs="*",
        type=float,
        default=[],
        metavar="FACTOR",
        help="of copies that are speakers too",
    )
    add_allow_pipes(parser)
    parser.add_argument(
        "--headers", nargs="+", required=True, metavar="TSV", help="headers of the shards, in order"
    )
    parser.add_argument(
        "--wav-scp", nargs="*", default=[], metavar="SCP", help="shards of a synthetic set, in order"
    )
    parser.add_argument("--output-dir", required=True, metavar="DIR", help="data directory to write")
    stage(parser, prepare, "data.prepare", ["headers", "wav_scp", corpus_files], [data_files])


def corpus_files(options: argparse.Namespace) -> list[Path]:
    """The files of a corpus that say what is in it."""
    from spkdistill.config import DATA_FILES
    from spkdistill.data.corpora import folders

    settings = options.settings
    if "directory" not in settings:
        return []
    directory, lists = Path(settings["directory"]), settings["trials"]
    names = {*DATA_FILES, *lists, *(f"{name}.enrol" for name in lists)}
    paths = {directory / folder / name for folder in folders(settings) for name in names}
    return sorted(path for path in paths if path.exists())


def data_files(options: argparse.Namespace) -> list[Path]:
    """The files that `prepare` may write."""
    from spkdistill.config import DATA_FILES

    lists = list(options.settings.get("trials", []))
    names = [*sorted(DATA_FILES, reverse=True), *lists, *(f"{name}.enrol" for name in lists)]
    return [Path(options.output_dir, name) for name in names]


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Add which shard of how many a job is."""
    parser.add_argument("--job", required=True, type=int, help="which shard, from 1")
    parser.add_argument("--jobs", required=True, type=int, help="how many shards there are")


def add_allow_pipes(parser: argparse.ArgumentParser) -> None:
    """Add the switch that lets wav.scp hold commands."""
    parser.add_argument("--allow-pipes", action="store_true", help="run the shell commands in wav.scp")


def synthesise(options: argparse.Namespace) -> None:
    """Synthesise one shard."""
    from spkdistill.data.corpora import synthetic as room
    from spkdistill.settings import build

    settings = build(room.SyntheticSettings, options.settings, "set")
    outputs = options.ark, options.scp, options.headers
    room.synthesise_shard(settings, options.seed, options.job, options.jobs, *outputs)


def inspect(options: argparse.Namespace) -> None:
    """Inspect one shard."""
    from spkdistill.data import inspect as room

    allowed = options.allow_pipes, options.allow_outside
    room.inspect(options.settings, *allowed, options.job, options.jobs, options.output)


def prepare(options: argparse.Namespace) -> None:
    """Prepare one set."""
    from spkdistill.data import prepare as room

    room.prepare(
        options.settings,
        options.seed,
        options.max_rejected,
        options.allow_pipes,
        options.wav_scp,
        options.headers,
        options.output_dir,
        options.speeds,
    )
