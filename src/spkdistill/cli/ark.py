"""`spkdistill ark`: look at archives, compare, check and copy them; `spkdistill merge`: put shards together.

Archives are named as in Kaldi (`ark:FILE`, `scp:FILE`, `ark,t:-`) or by a path; `-` and `.gz` are known.
`stat` and `show` also take a teacher's head.safetensors, which with cached embeddings makes its logits.
Lists are aligned on a terminal and separated by tabs in a pipe.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spkdistill.cli import at_least, share, stage
from spkdistill.errors import ConfigError, DataError, printable

if TYPE_CHECKING:
    import numpy as np

    from spkdistill.arks import Layout

BLOCK = 1000  # lines that are aligned together
HEAD = ".safetensors"  # of a teacher, the factored form of its logits


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `ark` and `merge`."""
    parser = commands.add_parser("ark", help="look at, compare, check and copy archives", description=__doc__)
    add_actions(parser.add_subparsers(dest="action", metavar="ACTION", required=True))
    add_merge(commands)


def add_actions(actions: argparse._SubParsersAction) -> None:
    """Add the actions of `ark`."""
    action = add_action(actions, "ls", ls, "key, type and dimensions of every entry")
    action.add_argument("archives", nargs="+", metavar="ARCHIVE")

    action = add_action(actions, "head", head, "the first entries and their first values")
    action.add_argument(
        "-n", type=at_least(0), default=10, metavar="COUNT", help="entries (default: %(default)s)"
    )
    action.add_argument("archive", metavar="ARCHIVE")

    action = add_action(
        actions, "stat", stat, "entries, dimensions, range, mean, NaN and infinity of archives"
    )
    action.add_argument("archives", nargs="+", metavar="ARCHIVE")

    action = add_action(actions, "show", show, "the numbers of some entries, in Kaldi's text form")
    action.add_argument("archive", metavar="ARCHIVE")
    action.add_argument("keys", nargs="+", metavar="KEY")
    action.add_argument("--rows", metavar="FIRST:LAST", help="only these rows, from 0, both included")

    action = add_action(actions, "diff", diff, "where two archives differ; exit status 1 if they do")
    action.add_argument("first", metavar="A")
    action.add_argument("second", metavar="B")
    action.add_argument(
        "--tolerance", type=float, default=0.0, help="absolute difference allowed (default: 0)"
    )

    action = add_action(
        actions, "check", check, "every fault of arks and of scp files with the arks they name"
    )
    action.add_argument("files", nargs="+", metavar="ARCHIVE", help="an ark, or an scp with its arks")

    action = add_action(actions, "copy", copy, "copy, convert, compress or thin out an archive")
    action.add_argument("source", metavar="SRC", help="what to read")
    action.add_argument("target", metavar="DST", help="what to write, such as ark,scp:x.ark,x.scp or ark,t:-")
    action.add_argument(
        "--compression", default="none", metavar="NAME", help="none, auto, two-byte-auto, ..."
    )
    action.add_argument("-n", type=at_least(0), metavar="COUNT", help="only the first so many entries")
    action.add_argument(
        "--every", type=at_least(1), default=1, metavar="STEP", help="only every STEP-th row of the matrices"
    )
    action.add_argument(
        "--offset", type=at_least(0), default=0, metavar="ROW", help="the first row of those (default: 0)"
    )


def add_action(
    actions: argparse._SubParsersAction, name: str, run: object, description: str
) -> argparse.ArgumentParser:
    """One action of `ark`."""
    parser = actions.add_parser(name, help=description, description=description)
    parser.set_defaults(run=run)
    return parser


def add_merge(commands: argparse._SubParsersAction) -> None:
    """Add `merge`."""
    parser = commands.add_parser("merge", help="put the scp or count files of shards together")
    parser.add_argument(
        "--parts", nargs="+", required=True, metavar="FILE", help="files of the shards, in order"
    )
    parser.add_argument("--output", required=True, metavar="FILE")
    parser.add_argument(
        "--expected", metavar="FILE", help="file whose first column is all keys (.tsv: after the header)"
    )
    parser.add_argument("--rejected", nargs="*", default=[], metavar="TSV", help="rejected.tsv of the shards")
    parser.add_argument("--rejected-output", metavar="TSV", help="rejected.tsv of all, to write")
    parser.add_argument(
        "--max-rejected", type=share, metavar="SHARE", help="fail above this share of --expected"
    )
    parser.add_argument("--manifest", metavar="JSON", help="manifest to write")
    parser.add_argument("--stage", help="the stage that the manifest names")
    parser.add_argument(
        "--rounding", nargs="*", metavar="JSON", help="what the shards' storage lost, for the manifest"
    )
    inputs, outputs = ["parts", "expected", "rejected", "rounding"], ["output", "rejected_output", "manifest"]
    stage(parser, merge, "arks", inputs, outputs)


def ls(options: argparse.Namespace) -> None:
    """List the entries of archives."""
    from spkdistill.arks import read_records

    for archive in options.archives:
        print_table(
            [record.key, record.header.kind, dimensions(record.shape)]
            for record in read_records(archive, values=False)
        )


def head(options: argparse.Namespace) -> None:
    """List the first entries with the first values of each."""
    from spkdistill.arks import read_records

    records = islice(read_records(options.archive), options.n)
    print_table([r.key, r.header.kind, dimensions(r.shape), preview(r.value)] for r in records)


def stat(options: argparse.Namespace) -> None:
    """Print the totals of archives, a block for each."""
    from spkdistill.arks.inspect import statistics

    for number, archive in enumerate(options.archives):
        if number:
            print()
        if archive.endswith(HEAD):
            print_table(factored_rows(archive))
            continue
        found = statistics(archive)
        rows = [("archive", archive), ("entries", found.entries), ("types", tally(found.kinds))]
        rows += [row for each in found.layouts.items() for row in described_topk(*each)]
        if found.rows:
            total = sum(rows * count for rows, count in found.rows.items())
            rows.append(("rows", f"{min(found.rows)}..{max(found.rows)}, {total} in all"))
        rows += [("dims", tally(found.dims)), ("values", found.values), ("bytes", found.bytes)]
        if found.entries:
            rows.append(("bytes_per_entry", round(found.bytes / found.entries, 1)))
        if found.values:
            moments = (found.minimum, found.mean, found.maximum, found.deviation)
            rows += zip(("min", "mean", "max", "std"), (f"{value:.7g}" for value in moments), strict=True)
        rows += [("nan", found.nans), ("inf", found.infinities)]
        print_table([str(name), str(value)] for name, value in rows)


def show(options: argparse.Namespace) -> None:
    """Print entries in Kaldi's text form, the largest logits of a view in words."""
    from spkdistill.arks import encode_text, layout_of, read_selected

    if options.archive.endswith(HEAD):
        print_factored(options.archive, options.keys)
        return
    for key, value in read_selected(options.archive, options.keys):
        if isinstance(value, bytes):
            raise DataError(f"{options.archive}:{key}: is a wave file; listen to it instead")
        if not options.rows and (layout := layout_of(value)):
            print_table(topk_rows(key, value, layout))
            continue
        rows = parse_rows(options.rows, len(value), f"{options.archive}:{key}")
        sys.stdout.write(f"{key} {encode_text(value[rows]).decode()}")


def topk_rows(key: str, matrix: "np.ndarray", layout: "Layout") -> Iterator[list[str]]:
    """The largest logits of a view, a line for each class, and what the others share."""
    from spkdistill.arks import left_masses

    says, numbers = matrix.tolist()
    yield [key, f"the target and the {layout.k} largest others of {layout.classes} logits"]
    for column in range(1, layout.k + 2):
        yield [f"class {says[column]:.0f}", f"{numbers[column]:.7g}", *(["target"] if column == 1 else [])]
    masses = left_masses(matrix[None], layout)[0].tolist()
    for temperature, mass, logit in zip(layout.temperatures, masses, numbers[layout.k + 2 :], strict=True):
        told = f"mass {mass:.7g} at temperature {temperature:g}"
        yield [f"{layout.left} others", f"{logit:.7g}", told]


def described_topk(layout: "Layout", masses: list["np.ndarray"]) -> Iterator[tuple[str, str]]:
    """What `stat` says of the largest logits of many views; `masses` are those left of each view."""
    yield "logits", f"of the target and the {layout.k} largest others of {layout.classes}"
    for column, temperature in enumerate(layout.temperatures):
        left = [float(mass[column]) for mass in masses]
        yield f"left at T {temperature:g}", f"mean mass {sum(left) / len(left):.7g}, largest {max(left):.7g}"


def factored_rows(head: str) -> Iterator[list[str]]:
    """What makes the logits of a teacher whose head this is."""
    from spkdistill.distill.logits import read_head_settings

    settings, classes = read_head_settings(head)
    rows = {"head": head, "settings": json.dumps(settings, sort_keys=True), "classes": classes}
    yield from ([key, str(value)] for key, value in (head_manifest(head) | rows).items())


def print_factored(head: str, keys: list[str]) -> None:
    """Print logits, computed from the embeddings beside the head, as vectors in Kaldi's text form."""
    from spkdistill.arks import encode_text
    from spkdistill.distill.logits import open_logits

    embeddings = Path(head).with_name(head_manifest(head)["embeddings"])
    for key, logits in zip(keys, open_logits(embeddings, head, None, "cpu")(keys).numpy(), strict=True):
        sys.stdout.write(f"{key} {encode_text(logits).decode()}")


def head_manifest(head: str) -> dict[str, Any]:
    """What the manifest beside a head says of it."""
    from spkdistill.files import read_json

    path = Path(head).with_suffix(".json")
    found = read_json(path)
    contents = found.get("contents") if isinstance(found, dict) else None
    name = contents.get("embeddings") if isinstance(contents, dict) else None
    if not isinstance(name, str) or name in ("", "..") or name != Path(name).name or not name.isprintable():
        raise DataError(f"{path}: not the manifest of a teacher's head; make both again")
    return contents


def diff(options: argparse.Namespace) -> None:
    """List the keys that differ by more than the tolerance, and fail if there are any."""
    from spkdistill.arks.inspect import differences

    keys = 0
    worst, worst_relative = 0.0, 0.0
    wrong: list[list[str]] = []
    for keys, found in enumerate(differences(options.first, options.second), start=1):  # noqa: B007
        if found.problem:
            wrong.append([found.key, found.problem])
            continue
        worst, worst_relative = max(worst, found.absolute), max(worst_relative, found.relative)
        if found.absolute > options.tolerance:
            place = f"at {','.join(map(str, found.place))}"
            wrong.append([found.key, f"abs {found.absolute:.7g}", f"rel {found.relative:.7g}", place])
    print_table(wrong)
    print(f"{keys} keys, {len(wrong)} differ; greatest difference {worst:.7g}, relative {worst_relative:.7g}")
    if wrong:
        raise DataError(f"{options.first} and {options.second}: {len(wrong)} of {keys} keys differ")


def check(options: argparse.Namespace) -> None:
    """Print every fault, a line for each, and fail if there are any."""
    from spkdistill.arks.inspect import faults

    found = 0
    for line in chain.from_iterable(map(faults, options.files)):
        print(printable(line))
        found += 1
    if found:
        raise DataError(f"{' '.join(options.files)}: {found} faults")
    print(f"{' '.join(options.files)}: no faults", file=sys.stderr)


def copy(options: argparse.Namespace) -> None:
    """Copy an archive."""
    from spkdistill.arks import read_archive, subsample, write_archive

    entries = islice(read_archive(options.source), options.n)
    if options.every > 1 or options.offset:
        entries = subsample(entries, options.every, options.offset, options.source)
    count = write_archive(options.target, entries, options.compression)
    print(f"{count} entries: {options.source} to {options.target}", file=sys.stderr)


def merge(options: argparse.Namespace) -> None:
    """Merge the index or count files of shards, and their rejected.tsv."""
    from spkdistill import arks
    from spkdistill.manifest import write_manifest

    if options.manifest and not options.stage:
        raise ConfigError("--manifest needs --stage, the name of the stage")
    rejected = arks.read_rejected(options.rejected)
    expected = arks.read_keys(options.expected) if options.expected else None
    if options.max_rejected is not None:
        if expected is None:
            raise ConfigError("--max-rejected is a share of --expected, which is missing")
        arks.check_rejected(rejected, len(expected), options.max_rejected)
    count = arks.merge(options.parts, options.output, expected, {key for key, _, _ in rejected})
    if options.rejected_output:
        arks.write_rejected(options.rejected_output, rejected)
    if options.manifest:
        contents = {"count": count, "rejected": len(rejected)}
        if options.output.endswith(".scp"):
            contents |= arks.describe(options.output)
        if options.rounding:
            contents |= arks.describe_losses(options.rounding)
            contents["bytes_per_entry"] = round(contents["bytes"] / max(count, 1), 1)
        write_manifest(options.manifest, options.stage, contents)


def print_table(rows: Iterable[list[str]]) -> None:
    """Print rows: aligned on a terminal, a thousand at a time, and separated by tabs in a pipe."""
    rows = ([printable(cell) for cell in row] for row in rows)
    while block := list(islice(rows, BLOCK if sys.stdout.isatty() else 1)):
        widths = [
            max((len(row[column]) for row in block if len(row) > column), default=0) for column in range(9)
        ]
        for row in block:
            if sys.stdout.isatty():
                print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)).rstrip())
            else:
                print("\t".join(row))


def dimensions(shape: tuple[int, ...]) -> str:
    """A shape as `400x30`, `512`, or `-` where there is none."""
    return "x".join(map(str, shape)) or "-"


def tally(counts: Counter) -> str:
    """What was counted, the most frequent first, as `CM (98), CM2 (2)`."""
    common = counts.most_common(5)
    more = [f"and {len(counts) - 5} more"] if len(counts) > 5 else []
    if len(common) == 1:
        return str(common[0][0])
    return ", ".join([f"{value} ({count})" for value, count in common] + more)


def preview(value: object) -> str:
    """The first values of an entry."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    flat = value.ravel()
    return " ".join([f"{number:.7g}" for number in flat[:6].tolist()] + ["..."] * (flat.size > 6))


def parse_rows(text: str | None, rows: int, where: str) -> slice:
    """The slice of FIRST:LAST, both included; `where` names the entry in messages."""
    if text is None:
        return slice(None)
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise ConfigError(f"--rows {text}: expected FIRST:LAST, such as 0:9") from None
    if not 0 <= first <= last < rows:
        raise DataError(f"{where}: has rows 0:{rows - 1}, not {text}")
    return slice(first, last + 1)
