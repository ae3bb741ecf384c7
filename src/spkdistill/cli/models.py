"""`spkdistill models`: what every network costs."""

import argparse


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `models`."""
    parser = commands.add_parser("models", help="parameters and multiply-accumulates of every network")
    parser.add_argument(
        "--config", nargs="*", default=[], metavar="JSON", help="config.json of trained networks to add"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=models)


def models(options: argparse.Namespace) -> None:
    """Print the table."""
    import json

    from spkdistill.models.cost import published_costs, table, trained_cost

    rows = published_costs() + [trained_cost(path) for path in options.config]
    print(json.dumps(rows, indent=2) if options.json else table(rows))
