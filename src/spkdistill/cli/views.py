"""`spkdistill views`: the fixed list of crops."""

import argparse

from spkdistill.cli import add_settings, stage


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `views`."""
    parser = commands.add_parser("views", help="draw the crops that teachers and students both see")
    parser.add_argument(
        "--num-frames", required=True, metavar="FILE", help="utt2num_frames of the voiced features"
    )
    parser.add_argument("--utt2spk", required=True, metavar="FILE", help="speaker of each utterance")
    add_settings(parser)
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--output", required=True, metavar="TSV", help="views.tsv to write")
    parser.add_argument("--speakers", required=True, metavar="FILE", help="list of speakers to write")
    parser.add_argument("--rejected", required=True, metavar="TSV", help="utterances without views, to write")
    stage(parser, views, "views", ["num_frames", "utt2spk"], ["output", "speakers", "rejected"])


def views(options: argparse.Namespace) -> None:
    """Draw the views of a set."""
    from spkdistill import views as room
    from spkdistill.settings import build

    room.views_stage(
        options.num_frames,
        options.utt2spk,
        build(room.ViewSettings, options.settings, "views"),
        options.seed,
        options.output,
        options.speakers,
        options.rejected,
    )
