"""`spkdistill dump`: a teacher's outputs for every view or utterance; `spkdistill analyse` compares them."""

import argparse
from functools import partial
from pathlib import Path

from spkdistill.cli import at_least, by_name, named_path, stage
from spkdistill.errors import ConfigError


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this room's subcommands."""
    parser = commands.add_parser(
        "dump", help="what a teacher says about each view, for students to learn from"
    )
    parser.add_argument("--model", required=True, metavar="SAFETENSORS", help="trained teacher")
    parser.add_argument("--config", required=True, metavar="JSON", help="its config.json")
    parser.add_argument(
        "--aggregators", metavar="SAFETENSORS", help="its aggregators, for sp_aggr and lde_aggr"
    )
    parser.add_argument("--aggregators-config", metavar="JSON", help="their config")
    parser.add_argument("--views", required=True, metavar="TSV")
    parser.add_argument(
        "--targets-of",
        required=True,
        choices=["view", "utterance"],
        help="an answer for each view, or one for all voiced frames of each utterance that has views",
    )
    parser.add_argument(
        "--storage",
        required=True,
        choices=["float32", "two-byte"],
        help="of a value; two-byte as Kaldi compresses",
    )
    parser.add_argument("--features", required=True, metavar="SCP", help="voiced features of all utterances")
    parser.add_argument("--job", required=True, type=int, help="which shard, from 1")
    parser.add_argument("--jobs", required=True, type=int, help="number of shards")
    parser.add_argument(
        "--parts",
        required=True,
        nargs="+",
        type=parse_part,
        metavar="PART=ARK,SCP,JSON",
        help="what to write, and where; the JSON says what the storage lost",
    )
    parser.add_argument("--threads", default=1, type=at_least(1), help="1, since shards run side by side")
    inputs = ["model", "config", "aggregators", "aggregators_config", "views", "features"]
    stage(parser, dump, "distill.targets", inputs, ["parts"])

    parser = commands.add_parser("analyse", help="what the targets of a teacher have in common")
    parser.add_argument("--views", required=True, metavar="TSV")
    parser.add_argument(
        "--targets",
        required=True,
        nargs="+",
        type=partial(named_path, "--targets"),
        metavar="PART=SCP",
        help="the parts to compare",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="JSON")
    stage(parser, run_analyse, "distill.analysis", ["views", "targets"], ["output"])


def dump(options: argparse.Namespace) -> None:
    """Targets of a shard of the views."""
    from spkdistill.distill.targets import PartFiles, TeacherFiles, dump_shard

    dump_shard(
        TeacherFiles(options.model, options.config, options.aggregators, options.aggregators_config),
        options.views,
        options.features,
        options.targets_of,
        options.storage,
        options.job,
        options.jobs,
        {part: PartFiles(*paths) for part, paths in by_name("--parts", options.parts).items()},
        options.threads,
    )


def run_analyse(options: argparse.Namespace) -> None:
    """The analysis of a teacher's targets."""
    from spkdistill.distill.analysis import analyse

    analyse(options.views, by_name("--targets", options.targets), options.output)


def parse_part(text: str) -> tuple[str, list[str]]:
    """(part, [ark, scp, json]) of PART=ARK,SCP,JSON."""
    part, _, paths = text.partition("=")
    split = paths.split(",")
    if not part or len(split) != 3 or not all(split):
        raise ConfigError(f"--parts {text}: expected PART=ARK,SCP,JSON")
    return part, split
