"""The ivector-* commands in the README of the golden files, run with spkdistill's functions.

Ids, dimensions and options come from the commands and from the files that they name, which are Kaldi's own.
"""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np

from golden_commands import split_outside_quotes
from spkdistill.arks import read_archive, read_matrix, read_vector
from spkdistill.backend.adapt import adapt_plda
from spkdistill.backend.diarization import cluster, recording_scores
from spkdistill.backend.lda import train_lda
from spkdistill.backend.llr import pair_products, plda_pairs, plda_space
from spkdistill.backend.plda import Plda, read_plda, smooth, train_plda
from spkdistill.backend.vectors import affine, normalise_length

Table = dict[str, np.ndarray]


class Command(NamedTuple):
    """One call of a Kaldi tool."""

    tool: str
    options: dict[str, str]
    arguments: list[str]


class Kaldi:
    """Runs commands on the golden files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pipelines(self, *tools: str) -> list[list[Command]]:
        """The README's pipelines that end in one of `tools` and that write a file."""
        blocks = re.findall(r"^```sh\n(.*?)\n```", (self.folder / "README.md").read_text(), re.M | re.S)
        parsed = [parse(line) for block in blocks for line in split_outside_quotes(block, ";")]
        found = [commands for commands in parsed if commands and commands[-1].tool in tools]
        assert found, f"no command of {tools} in the README"
        return found

    def run(self, commands: list[Command]):
        """What the last command of a pipeline puts out."""
        value = None
        for command in commands:
            value = getattr(self, command.tool.replace("-", "_"))(command, value)
        return value

    def table(self, specifier: str, piped: Table | None = None) -> Table:
        """The vectors of an archive, of the piped-in table (`ark:-`), or of a command (`ark:... |`)."""
        specifier = specifier.removeprefix("ark:")
        if specifier == "-":
            return piped
        if specifier.endswith("|"):
            return self.run(parse(specifier.rstrip(" |")))
        return dict(read_archive(f"ark:{self.folder / specifier}"))

    def lists(self, specifier: str) -> dict[str, list[str]]:
        """A table of words, as spk2utt."""
        path = specifier.removeprefix("ark:")
        lines = (self.folder / path).read_text().splitlines() if path else []
        return {line.split()[0]: line.split()[1:] for line in lines}

    def plda(self, specifier: str) -> Plda:
        """The model in a file or from a command."""
        return (
            self.run(parse(specifier.rstrip(" |")))
            if specifier.endswith("|")
            else read_plda(self.folder / specifier)
        )

    def trials(self, specifier: str) -> list[list[str]]:
        """The pairs of a trial list, which `cut` may have stripped of its labels."""
        path = specifier.rstrip(" |").split()[-1]
        return [line.split()[:2] for line in (self.folder / path).read_text().splitlines()]

    def ivector_mean(self, command: Command, piped: Table | None):
        """The mean of all vectors, or the mean and the number of each speaker's."""
        if len(command.arguments) == 2:
            return stack(self.table(command.arguments[0])).mean(axis=0)
        members, vectors = self.lists(command.arguments[0]), self.table(command.arguments[1])
        means = {name: stack(vectors, keys).mean(axis=0) for name, keys in members.items()}
        return means, {name: np.array(len(keys)) for name, keys in members.items()}

    def ivector_subtract_global_mean(self, command: Command, piped: Table | None) -> Table:
        """Subtract the mean of a file, or the table's own."""
        vectors = self.table(command.arguments[-2], piped)
        given = len(command.arguments) == 3
        mean = read_vector(self.folder / command.arguments[0]) if given else stack(vectors).mean(axis=0)
        return {key: value - mean for key, value in vectors.items()}

    def transform_vec(self, command: Command, piped: Table | None) -> Table:
        """An affine or linear transform."""
        vectors = self.table(command.arguments[1], piped)
        return unstack(vectors, affine(read_matrix(self.folder / command.arguments[0]), stack(vectors)))

    ivector_transform = transform_vec

    def ivector_normalize_length(self, command: Command, piped: Table | None) -> Table:
        """Length normalisation."""
        vectors = self.table(command.arguments[0], piped)
        scale_up = command.options.get("scaleup", "true") == "true"
        return unstack(vectors, normalise_length(stack(vectors), list(vectors), scale_up))

    def ivector_compute_lda(self, command: Command, piped: Table | None) -> np.ndarray:
        """LDA."""
        vectors = self.table(command.arguments[0])
        speaker_of = {key: value[0] for key, value in self.lists(command.arguments[1]).items()}
        classes = np.unique([speaker_of[key] for key in vectors], return_inverse=True)[1]
        factor = float32(command.options.get("total-covariance-factor", "0"))
        return train_lda(stack(vectors), classes, int(command.options.get("dim", 100)), factor)

    def ivector_compute_plda(self, command: Command, piped: Table | None) -> Plda:
        """PLDA."""
        members, vectors = self.lists(command.arguments[0]), self.table(command.arguments[1])
        keys = [key for names in members.values() for key in names]
        classes = np.repeat(np.arange(len(members)), [len(names) for names in members.values()])
        return train_plda(stack(vectors, keys), classes, int(command.options.get("num-em-iters", 10)))

    def ivector_copy_plda(self, command: Command, piped: Table | None) -> Plda:
        """Smoothing."""
        return smooth(self.plda(command.arguments[0]), float32(command.options.get("smoothing", "0")))

    def ivector_adapt_plda(self, command: Command, piped: Table | None) -> Plda:
        """Unsupervised adaptation."""
        plda, vectors = self.plda(command.arguments[0]), stack(self.table(command.arguments[1]))
        defaults = {"mean-diff-scale": "1", "within-covar-scale": "0.3", "between-covar-scale": "0.7"}
        scales = [float32(command.options.get(name, value)) for name, value in defaults.items()]
        return adapt_plda(plda, vectors, *scales)

    def ivector_plda_scoring(self, command: Command, piped: Table | None) -> dict[tuple[str, str], float]:
        """Log likelihood ratios; trials of absent keys are left out."""
        plda, enrol, test = self.plda(command.arguments[0]), *map(self.table, command.arguments[1:3])
        counts = np.ones(len(enrol), dtype=int)
        if "num-utts" in command.options:
            numbers = self.lists(command.options["num-utts"])
            counts = np.array([int(numbers[key][0]) for key in enrol])
        length = command.options.get("normalize-length", "true") == "true"
        simple = command.options.get("simple-length-normalization", "false") == "true"
        u, v = (
            plda_space(plda, stack(enrol), counts, length, simple),
            plda_space(plda, stack(test), 1, length, simple),
        )
        pairs = [pair for pair in self.trials(command.arguments[3]) if pair[0] in enrol and pair[1] in test]
        scores = plda_pairs(plda.psi, u, counts, v).of(*rows_of(pairs, enrol, test))
        return {tuple(pair): score for pair, score in zip(pairs, scores, strict=True)}

    def ivector_plda_scoring_dense(self, command: Command, piped: Table | None) -> Table:
        """Scores of all pairs of each recording's vectors."""
        plda, vectors = self.plda(command.arguments[0]), self.table(command.arguments[2])
        energy = float32(command.options.get("target-energy", "0.1"))
        recordings = self.lists(command.arguments[1]).items()
        return {name: recording_scores(plda, stack(vectors, keys), energy) for name, keys in recordings}

    def agglomerative_cluster(self, command: Command, piped: Table | None) -> list[list[str]]:
        """Rows of utterance and label."""
        scores, members = self.table(command.arguments[0]), self.lists(command.arguments[1])
        known = self.lists(command.options.get("reco2num-spk-rspecifier", ""))
        rows = []
        for recording, keys in members.items():
            number = int(known[recording][0]) if known else None
            threshold = float(command.options.get("threshold", "0"))
            labels = cluster(scores[recording], threshold, number)
            rows += [[key, str(label)] for key, label in zip(keys, labels, strict=True)]
        return rows

    def ivector_compute_dot_products(
        self, command: Command, piped: Table | None
    ) -> dict[tuple[str, str], float]:
        """Scalar products."""
        pairs, left, right = self.trials(command.arguments[0]), *map(self.table, command.arguments[1:3])
        scores = pair_products(stack(left), stack(right), *rows_of(pairs, left, right))
        return {tuple(pair): score for pair, score in zip(pairs, scores, strict=True)}


def parse(line: str) -> list[Command]:
    """The commands of a pipeline."""
    commands = []
    for words in map(shlex.split, split_outside_quotes(line, "|")):
        options = dict(word[2:].split("=", 1) for word in words[1:] if re.match(r"--[\w-]+=", word))
        arguments = [word for word in words[1:] if not re.match(r"--[\w-]+=", word)]
        commands.append(Command(words[0] if words else "", options, arguments))
    return commands


def float32(text: str) -> float:
    """An option's value, which Kaldi keeps as a float32."""
    return float(np.float32(text))


def stack(table: Table, keys: list[str] | None = None) -> np.ndarray:
    """The vectors of a table as rows of float64."""
    return np.array([table[key] for key in keys or table], dtype=np.float64)


def unstack(table: Table, rows: np.ndarray) -> Table:
    """Rows under the keys of a table."""
    return dict(zip(table, rows, strict=True))


def rows_of(pairs: list[list[str]], left: Table, right: Table) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the two sides of each trial."""
    sides = ({key: row for row, key in enumerate(table)} for table in (left, right))
    return tuple(np.array([row[pair[k]] for pair in pairs]) for k, row in enumerate(sides))
