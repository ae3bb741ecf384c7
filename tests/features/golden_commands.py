"""The Kaldi commands that made the golden files, read from their README, and our settings for them."""

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import kaldiio
import numpy as np
import pytest

from spkdistill.features.settings import FeatureSettings
from spkdistill.features.vad import VadSettings

GOLDEN = Path(os.environ.get("SPKDISTILL_SHARED", "../shared")).resolve() / "golden-kaldi"

# What Kaldi's tools do where no option says otherwise.
FEATURE_DEFAULTS = {
    "sample-frequency": "16000",
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
NOT_SETTINGS = ("channel", "write-utt2dur")
VAD_DEFAULTS = {
    "vad-energy-threshold": "5",
    "vad-energy-mean-scale": "0.5",
    "vad-frames-context": "0",
    "vad-proportion-threshold": "0.6",
}


@dataclass(frozen=True)
class Command:
    """One call of a Kaldi tool; options of --config files come first, as Kaldi reads them."""

    tool: str
    options: dict[str, str]
    arguments: tuple[str, ...]
    then: tuple["Command", ...] = ()  # what its output is piped through

    @property
    def output(self) -> str:
        """The file that the last tool of the pipe writes, relative to the golden folder."""
        return (self.then[-1] if self.then else self).arguments[-1].split(":", 1)[-1].split(",")[0]


def commands(*tools: str) -> list[Command]:
    """Every command of the README that starts with one of `tools`, in order."""
    blocks = re.findall(r"^```sh\n(.*?)\n```", (GOLDEN / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in split_outside_quotes(block, ";")]
    parsed = [parse(line) for line in lines]
    return [command for command in parsed if command.tool in tools]


def parse(line: str) -> Command:
    """A command and the ones it is piped into."""
    stages = []
    for stage in split_outside_quotes(line, "|"):
        words = shlex.split(stage)
        options: dict[str, str] = {}
        for word in words[1:]:
            if found := re.fullmatch(r"--([\w-]+)=(.*)", word):
                options |= read_config(found[2]) if found[1] == "config" else {found[1]: found[2]}
        arguments = tuple(word for word in words[1:] if not re.match(r"--[\w-]+=", word))
        stages.append(Command(words[0] if words else "", options, arguments))
    first = stages[0]
    return Command(first.tool, first.options, first.arguments, tuple(stages[1:]))


def split_outside_quotes(text: str, separator: str) -> list[str]:
    """`text` split at a character that stands outside quotes."""
    pieces = re.split(rf"""{re.escape(separator)}(?=(?:[^"']|"[^"]*"|'[^']*')*$)""", text)
    return [piece.strip() for piece in pieces]


def read_config(name: str) -> dict[str, str]:
    """The options of a Kaldi configuration file."""
    return dict(re.findall(r"^--([\w-]+)=(\S+)", (GOLDEN / name).read_text(), re.MULTILINE))


def cases(make: Callable[[], list[Command]]) -> list:
    """Commands as parameters of a test; where there are no golden files, one that is skipped."""
    if not GOLDEN.is_dir():
        reason = f"no golden Kaldi files at {GOLDEN}; set SPKDISTILL_SHARED"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(command, id=f"{command.tool} {command.output}") for command in make()]


def feature_settings(command: Command) -> FeatureSettings:
    """The settings that mean what a compute-*-feats command means."""
    kind, use_energy = KINDS[command.tool]
    options = {**FEATURE_DEFAULTS, "use-energy": use_energy, **command.options}
    renamed = {"sample-frequency": "sample_rate", "preemphasis-coefficient": "preemphasis"}
    hints = get_type_hints(FeatureSettings)
    values: dict[str, object] = {"kind": kind, "compression": "none"}
    for option, text in options.items():
        if option not in NOT_SETTINGS:
            name = renamed.get(option, option.replace("-", "_"))
            values[name] = text == "true" if hints[name] is bool else hints[name](text)
    return FeatureSettings(**values)


def vad_settings(command: Command) -> VadSettings:
    """The settings that mean what a compute-vad command means."""
    options = {**VAD_DEFAULTS, **command.options}
    values = {name.removeprefix("vad-").replace("-", "_"): value for name, value in options.items()}
    return VadSettings(
        float(values["energy_threshold"]),
        float(values["energy_mean_scale"]),
        int(values["frames_context"]),
        float(values["proportion_threshold"]),
    )


def read_table(name: str) -> dict[str, str]:
    """A file of lines "key value", as wav.scp."""
    return dict(line.split(None, 1) for line in (GOLDEN / name).read_text().splitlines())


def read_archive(name: str) -> dict[str, np.ndarray]:
    """A Kaldi archive, binary or text, read by kaldiio."""
    return dict(kaldiio.load_ark(str(GOLDEN / name)))


def read_input(specifier: str) -> dict[str, np.ndarray]:
    """The matrices of an input "scp:..." or "ark:copy-feats scp:... | select-feats A-B ...|"."""
    scp = re.search(r"scp:(\S+)", specifier)[1]
    columns = re.search(r"select-feats (\d+)-(\d+)", specifier)
    first, last = (int(columns[1]), int(columns[2]) + 1) if columns else (None, None)
    matrices = {}
    for key, location in read_table(scp).items():
        matrices[key] = kaldiio.load_mat(str(GOLDEN / location))[:, first:last]
    return matrices
