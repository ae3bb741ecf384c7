"""`spkdistill train | aggregators`: teachers, students, and the aggregators of a teacher."""

import argparse
from functools import partial

from spkdistill.cli import add_feature_settings, add_settings, by_name, named_path, stage

INPUTS = "views", "speakers", "features"
OUTPUTS = "model", "config", "log"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `train` and `aggregators`."""
    parser = commands.add_parser("train", help="train a teacher, or a student on a teacher's cached targets")
    parser.add_argument("--name", required=True, help="of the model, for seeds and messages")
    add_settings(parser)
    add_feature_settings(parser)
    add_inputs(parser)
    parser.add_argument(
        "--targets",
        nargs="*",
        default=[],
        type=partial(named_path, "--targets"),
        metavar="PART=SCP",
        help="cached targets of the views",
    )
    add_outputs(parser)
    stage(parser, train, "training.networks", [*INPUTS, "targets"], OUTPUTS)

    parser = commands.add_parser("aggregators", help="train the aggregators of a teacher's frame layers")
    parser.add_argument("--teacher", required=True, metavar="FILE", help="the teacher's model.safetensors")
    parser.add_argument("--teacher-config", required=True, metavar="FILE", help="its config.json")
    add_settings(parser)
    add_inputs(parser)
    add_outputs(parser)
    stage(parser, aggregators, "training.aggregators", ["teacher", "teacher_config", *INPUTS], OUTPUTS)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """What every training reads."""
    parser.add_argument("--views", required=True, metavar="TSV", help="the crops to train on")
    parser.add_argument(
        "--speakers", required=True, metavar="FILE", help="speakers in the order of their classes"
    )
    parser.add_argument("--features", required=True, metavar="SCP", help="voiced features")
    parser.add_argument("--seed", required=True, type=int)


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """What every training writes."""
    parser.add_argument("--work", required=True, metavar="DIR", help="for checkpoints; emptied at the end")
    parser.add_argument("--model", required=True, metavar="FILE", help="safetensors to write")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON to write")
    parser.add_argument("--log", required=True, metavar="TSV", help="means over each epoch, to write")


def train(options: argparse.Namespace) -> None:
    """Train a teacher or a student, in as many processes as its settings say."""
    from spkdistill.training.launch import together

    together(train_here, options)


def train_here(options: argparse.Namespace) -> None:
    """Train a teacher or a student in this process."""
    from spkdistill.training.data import Inputs
    from spkdistill.training.loop import Outputs
    from spkdistill.training.networks import train_network

    train_network(
        options.settings,
        options.feature_settings,
        Inputs(options.views, options.speakers, options.features),
        by_name("--targets", options.targets),
        options.seed,
        options.name,
        options.work,
        Outputs(options.model, options.config, options.log),
    )


def aggregators(options: argparse.Namespace) -> None:
    """Train the aggregators of a teacher, in as many processes as their settings say."""
    from spkdistill.training.launch import together

    together(aggregators_here, options)


def aggregators_here(options: argparse.Namespace) -> None:
    """Train the aggregators of a teacher in this process."""
    from spkdistill.training.aggregators import train_aggregators
    from spkdistill.training.data import Inputs
    from spkdistill.training.loop import Outputs

    train_aggregators(
        (options.teacher, options.teacher_config),
        options.settings,
        Inputs(options.views, options.speakers, options.features),
        options.seed,
        options.work,
        Outputs(options.model, options.config, options.log),
    )
