"""`spkdistill features | vad | normalise`: from audio to normalised voiced frames, one shard at a time."""

import argparse
from pathlib import Path

from spkdistill.cli import add_settings, parse_settings, stage


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `features`, `vad` and `normalise`."""
    parser = commands.add_parser("features", help="compute MFCC or filterbank features, equal to Kaldi's")
    parser.add_argument("--data", required=True, metavar="DIR", help="Kaldi data directory")
    add_settings(parser)
    parser.add_argument("--job", required=True, type=int, help="which shard, from 1")
    parser.add_argument("--jobs", required=True, type=int, help="number of shards")
    parser.add_argument("--seed", required=True, type=int, help="seed of the dither")
    parser.add_argument("--allow-pipes", action="store_true", help='run the commands of "cmd |" entries')
    add_outputs(parser)
    parser.add_argument("--rejected", required=True, metavar="TSV", help="utterances left out, to write")
    stage(parser, features, "features.extract", [data_files], ["ark", "scp", "rejected"])

    parser = commands.add_parser("vad", help="decide which frames are speech, as Kaldi's compute-vad")
    parser.add_argument("--raw", required=True, metavar="SCP", help="features with energy first")
    parser.add_argument(
        "--features", required=True, type=parse_settings, metavar="JSON", help="their settings"
    )
    add_settings(parser)
    add_outputs(parser)
    stage(parser, vad, "features.vad", ["raw"], ["ark", "scp"])

    parser = commands.add_parser("normalise", help="CMN, sliding or by utterance, then the voiced frames")
    parser.add_argument("--raw", required=True, metavar="SCP", help="features of all frames")
    parser.add_argument("--vad", required=True, metavar="SCP", help="voice activity of the same utterances")
    add_settings(parser)
    parser.add_argument("--compression", required=True, help="of the archive to write")
    add_outputs(parser)
    parser.add_argument("--num-frames", required=True, metavar="FILE", help="utt2num_frames to write")
    parser.add_argument("--rejected", required=True, metavar="TSV", help="utterances left out, to write")
    stage(parser, normalise, "features.cmn", ["raw", "vad"], ["ark", "scp", "num_frames", "rejected"])


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The archive that a stage writes."""
    parser.add_argument("--ark", required=True, help="archive to write")
    parser.add_argument("--scp", required=True, help="its index")


def data_files(options: argparse.Namespace) -> list[Path]:
    """The files of a data directory that features depend on."""
    return [Path(options.data, name) for name in ("wav.scp", "segments", "utt2spk", "utt2speed")]


def features(options: argparse.Namespace) -> None:
    """Features of a shard of a data directory."""
    from spkdistill.features.extract import extract_shard
    from spkdistill.features.settings import FeatureSettings
    from spkdistill.settings import build

    extract_shard(
        options.data,
        build(FeatureSettings, options.settings, "features"),
        options.job,
        options.jobs,
        options.ark,
        options.scp,
        options.rejected,
        options.allow_pipes,
        options.seed,
    )


def vad(options: argparse.Namespace) -> None:
    """Voice activity of a shard of features."""
    from spkdistill.features.settings import FeatureSettings
    from spkdistill.features.vad import VadSettings, vad_shard
    from spkdistill.settings import build

    vad_shard(
        options.raw,
        build(FeatureSettings, options.features, "features"),
        build(VadSettings, options.settings, "vad"),
        options.ark,
        options.scp,
    )


def normalise(options: argparse.Namespace) -> None:
    """Normalised voiced frames of a shard of features."""
    from spkdistill.features.cmn import CmnSettings, normalise_shard
    from spkdistill.settings import build

    normalise_shard(
        options.raw,
        options.vad,
        build(CmnSettings, options.settings, "cmn"),
        options.compression,
        options.ark,
        options.scp,
        options.num_frames,
        options.rejected,
    )
