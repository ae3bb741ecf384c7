"""`spkdistill embed`: embeddings of whole utterances, one shard at a time."""

import argparse

from spkdistill.cli import add_trust, at_least, stage


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `embed`."""
    parser = commands.add_parser("embed", help="embeddings of the utterances in an scp of voiced features")
    parser.add_argument("--model", required=True, metavar="FILE", help="trained or adopted network")
    parser.add_argument("--config", required=True, metavar="JSON", help="its config.json")
    parser.add_argument("--features", required=True, metavar="SCP", help="voiced features of this shard")
    parser.add_argument("--ark", required=True, help="archive of embeddings to write")
    parser.add_argument("--scp", required=True, help="its index")
    parser.add_argument("--threads", default=1, type=at_least(1), help="1, since shards run side by side")
    add_trust(parser)
    stage(parser, embed, "embeddings", ["model", "config", "features"], ["ark", "scp"])


def embed(options: argparse.Namespace) -> None:
    """Embeddings of a shard."""
    from spkdistill.embeddings import extract_shard

    extract_shard(
        options.model,
        options.config,
        options.features,
        options.ark,
        options.scp,
        options.threads,
        options.trust,
    )
