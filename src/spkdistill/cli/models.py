"""`spkdistill models | adopt`: what every network costs; a network from elsewhere as a teacher."""

import argparse

from spkdistill.cli import add_feature_settings, add_settings, add_trust, at_least, stage


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `models` and `adopt`."""
    parser = commands.add_parser("models", help="parameters and multiply-accumulates of every network")
    parser.add_argument(
        "--config", nargs="*", default=[], metavar="JSON", help="config.json of trained networks to add"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=models)

    parser = commands.add_parser("adopt", help="make an ONNX or TorchScript file a teacher")
    parser.add_argument("--file", required=True, metavar="FILE", help="*.onnx, or *.pt for TorchScript")
    add_settings(parser)
    add_feature_settings(parser)
    add_trust(parser)
    parser.add_argument("--threads", default=1, type=at_least(1))
    parser.add_argument("--model", required=True, metavar="FILE", help="the copy to write")
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON to write")
    stage(parser, adopt, "models.adopt", ["file"], ["model", "config"])


def models(options: argparse.Namespace) -> None:
    """Print the table."""
    import json

    from spkdistill.models.cost import published_costs, table, trained_cost

    rows = published_costs() + [trained_cost(path) for path in options.config]
    print(json.dumps(rows, indent=2) if options.json else table(rows))


def adopt(options: argparse.Namespace) -> None:
    """Try a network, copy it and describe it."""
    from spkdistill.models.adopt import adopt

    adopt(
        options.file,
        options.settings,
        options.feature_settings,
        options.trust,
        options.model,
        options.config,
        options.threads,
    )
