"""Kaldi's feature tools in terms of this room: our settings for their options, and their pipes run by us."""

import re
from typing import get_type_hints

import kaldiio
import numpy as np

from golden_commands import GOLDEN, Command, parse, read_archive, read_table
from spkdistill.features.cmn import CmnSettings, apply_cmvn, cmvn_stats, normalise
from spkdistill.features.extract import add_deltas
from spkdistill.features.settings import FeatureSettings
from spkdistill.features.vad import VadSettings

Table = dict[str, np.ndarray]

# What Kaldi's tools do where no option says otherwise.
FEATURE_DEFAULTS = {
    "sample-frequency": "16000",
    "channel": "-1",
    "frame-length": "25",
    "frame-shift": "10",
    "num-mel-bins": "23",
    "low-freq": "20",
    "high-freq": "0",
    "snip-edges": "true",
    "window-type": "povey",
    "preemphasis-coefficient": "0.97",
    "remove-dc-offset": "true",
    "round-to-power-of-two": "true",
    "raw-energy": "true",
    "energy-floor": "0",
    "htk-compat": "false",
    "subtract-mean": "false",
    "vtln-warp": "1",
    "vtln-low": "100",
    "vtln-high": "-500",
    "num-ceps": "13",
    "cepstral-lifter": "22",
    "use-log-fbank": "true",
    "use-power": "true",
    "dither": "1",
    "allow-downsample": "false",
    "allow-upsample": "false",
}
KINDS = {
    "compute-mfcc-feats": ("mfcc", "true"),
    "compute-fbank-feats": ("fbank", "false"),
}  # and their use-energy
NOT_SETTINGS = ("write-utt2dur",)
VAD_DEFAULTS = {
    "vad-energy-threshold": "5",
    "vad-energy-mean-scale": "0.5",
    "vad-frames-context": "0",
    "vad-proportion-threshold": "0.6",
}
CMN_DEFAULTS = {"cmn-window": "600", "min-cmn-window": "100", "center": "false", "norm-vars": "false"}
DELTA_DEFAULTS = {"delta-order": "2", "delta-window": "2"}


def feature_settings(command: Command) -> FeatureSettings:
    """The settings that mean what a compute-*-feats command means."""
    kind, use_energy = KINDS[command.tool]
    options = {**FEATURE_DEFAULTS, "use-energy": use_energy, **command.options}
    renamed = {"sample-frequency": "sample_rate", "preemphasis-coefficient": "preemphasis"}
    hints = get_type_hints(FeatureSettings)
    values: dict[str, object] = {"kind": kind, "compression": "none", "delta_order": 0, "delta_window": 2}
    for option, text in options.items():
        if option not in NOT_SETTINGS:
            name = renamed.get(option, option.replace("-", "_"))
            values[name] = text == "true" if hints[name] is bool else hints[name](text)
    return FeatureSettings(**values)


def vad_settings(command: Command) -> VadSettings:
    """The settings that mean what a compute-vad command means."""
    options = {**VAD_DEFAULTS, **command.options}
    return VadSettings(
        energy_threshold=float(options["vad-energy-threshold"]),
        energy_mean_scale=float(options["vad-energy-mean-scale"]),
        frames_context=int(options["vad-frames-context"]),
        proportion_threshold=float(options["vad-proportion-threshold"]),
    )


def cmn_settings(command: Command) -> CmnSettings:
    """The settings that mean what an apply-cmvn-sliding command means."""
    options = {**CMN_DEFAULTS, **command.options}
    return CmnSettings(
        kind="sliding",
        window=int(options["cmn-window"]),
        min_window=int(options["min-cmn-window"]),
        center=options["center"] == "true",
        norm_vars=options["norm-vars"] == "true",
        min_frames=1,
    )


def run(command: Command, piped: Table | None = None) -> Table:
    """What a command and the ones behind it put out, by our functions from Kaldi's inputs."""
    inputs = [table(word, piped) for word in command.arguments[:-1] if ":" in word]
    output = TOOLS[command.tool](command, *inputs)
    for following in command.then:
        output = run(following, output)
    return output


def table(specifier: str, piped: Table | None = None) -> Table:
    """The entries of "ark:...", "scp:...", of the pipe ("ark:-") or of a command ("ark:... |")."""
    kind, rest = specifier.split(":", 1)
    if rest.endswith("|"):
        return run(parse(rest.rstrip("| ")))
    if rest == "-":
        return piped
    if kind == "scp":
        return {key: kaldiio.load_mat(str(GOLDEN / location)) for key, location in read_table(rest).items()}
    return read_archive(rest)


def select_feats(command: Command, features: Table) -> Table:
    """Some columns, as "0-1,30-31"."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", command.arguments[0])
    columns = [column for first, last in ranges for column in range(int(first), int(last or first) + 1)]
    return {key: matrix[:, columns] for key, matrix in features.items()}


def compute_cmvn_stats(command: Command, features: Table) -> Table:
    """Statistics of each utterance, or of each speaker: the sum over its utterances."""
    stats = {key: cmvn_stats(matrix) for key, matrix in features.items()}
    if "spk2utt" not in command.options:
        return stats
    speakers = read_table(command.options["spk2utt"].removeprefix("ark:"))
    return {key: sum(stats[utterance] for utterance in names.split()) for key, names in speakers.items()}


def apply(command: Command, stats: Table, features: Table) -> Table:
    """Features normalised by the statistics of the same key."""
    norm_vars = command.options.get("norm-vars") == "true"
    return {key: apply_cmvn(matrix, stats[key], norm_vars) for key, matrix in features.items()}


def deltas(command: Command, features: Table) -> Table:
    """Features with their derivatives."""
    options = {**DELTA_DEFAULTS, **command.options}
    order, window = int(options["delta-order"]), int(options["delta-window"])
    return {key: add_deltas(matrix, order, window) for key, matrix in features.items()}


TOOLS = {
    "copy-feats": lambda command, features: features,
    "select-feats": select_feats,
    "add-deltas": deltas,
    "compute-cmvn-stats": compute_cmvn_stats,
    "apply-cmvn": apply,
    "apply-cmvn-sliding": lambda command, features: {
        key: normalise(matrix, cmn_settings(command)) for key, matrix in features.items()
    },
}
