"""`spkdistill dump | head`: a teacher's outputs for every view; `spkdistill analyse` compares them."""

import argparse
from functools import partial
from pathlib import Path

from spkdistill.cli import add_trust, at_least, by_name, named_path, number, stage
from spkdistill.errors import ConfigError

INPUTS = "model", "config", "views", "features"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this room's subcommands."""
    add_dump(commands)
    add_head(commands)
    add_analyse(commands)


def add_dump(commands: argparse._SubParsersAction) -> None:
    """`dump`, a job for each shard of the views."""
    parser = commands.add_parser(
        "dump", help="what a teacher says about each view, for students to learn from"
    )
    add_inputs(parser)
    parser.add_argument(
        "--targets-of",
        required=True,
        choices=["view", "utterance"],
        help="an answer for each view, or one for all voiced frames of each utterance that has views",
    )
    parser.add_argument(
        "--aggregators", metavar="SAFETENSORS", help="its aggregators, for sp_aggr and lde_aggr"
    )
    parser.add_argument("--aggregators-config", metavar="JSON", help="their config")
    parser.add_argument(
        "--storage",
        required=True,
        choices=["float32", "two-byte"],
        help="of a value; two-byte as Kaldi compresses",
    )
    parser.add_argument(
        "--top",
        type=at_least(1),
        metavar="K",
        help="of the logits only those of the target and the K largest others",
    )
    parser.add_argument(
        "--temperatures",
        nargs="*",
        default=[],
        type=temperature,
        metavar="T",
        help="at which the mass of the others is kept; with --top",
    )
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
    add_trust(parser)
    stage(parser, dump, "distill.targets", [*INPUTS, "aggregators", "aggregators_config"], ["parts"])


def add_head(commands: argparse._SubParsersAction) -> None:
    """`head`."""
    parser = commands.add_parser(
        "head", help="a teacher's head, which makes its logits from its cached embeddings"
    )
    add_inputs(parser)
    parser.add_argument("--embeddings", required=True, metavar="SCP", help="the cached part xvector")
    parser.add_argument("--head", required=True, metavar="SAFETENSORS", help="to write")
    parser.add_argument("--manifest", required=True, metavar="JSON", help="to write: how exact they are")
    stage(parser, head, "distill.targets", [*INPUTS, "embeddings"], ["head", "manifest"])


def add_analyse(commands: argparse._SubParsersAction) -> None:
    """`analyse`."""
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


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """What every stage reads that asks a teacher."""
    parser.add_argument("--model", required=True, metavar="FILE", help="trained or adopted teacher")
    parser.add_argument("--config", required=True, metavar="JSON", help="its config.json")
    parser.add_argument("--views", required=True, metavar="TSV")
    parser.add_argument("--features", required=True, metavar="SCP", help="voiced features of all utterances")
    parser.add_argument("--threads", default=1, type=at_least(1), help="1, since shards run side by side")


def temperature(text: str) -> float:
    """The type of an argument that is a temperature."""
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"expected a temperature, more than 0, found {text}")
    return value


def dump(options: argparse.Namespace) -> None:
    """Targets of a shard of the views."""
    from spkdistill.distill.targets import PartFiles, TeacherFiles, Top, dump_shard

    if options.temperatures and not options.top:
        raise ConfigError("--temperatures are those of --top, which is missing; give both")
    if options.top and options.targets_of != "view":
        raise ConfigError("--top is of the logits of views; say --targets-of view")
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
        options.trust,
        Top(options.top, options.temperatures) if options.top else None,
    )


def head(options: argparse.Namespace) -> None:
    """The head of a teacher, for the factored form of its logits."""
    from spkdistill.distill.targets import TeacherFiles, factor

    factor(
        TeacherFiles(options.model, options.config, None, None),
        options.views,
        options.features,
        options.embeddings,
        options.head,
        options.manifest,
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
