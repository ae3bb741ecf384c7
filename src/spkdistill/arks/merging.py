"""The shards of a stage put together: index or count files, what was rejected, what a manifest says."""

from pathlib import Path
from typing import Any

from spkdistill.arks.reader import ArkReader
from spkdistill.arks.rounding import describe_rounding
from spkdistill.arks.scp import parse_location
from spkdistill.arks.topk import describe_topk
from spkdistill.errors import DataError
from spkdistill.files import read_json, read_text, read_tsv, replacing, write_tsv

REJECTED = ["utterance", "reason"]
SAMPLE = 1000  # entries whose headers are looked at for a manifest


def merge(parts: list[str | Path], output: str | Path, expected: list[str] | None, rejected: set[str]) -> int:
    """Concatenate "key value" files (scp, utt2num_frames) in order and return the number of entries.

    Keys must be sorted, unique, and, where `expected` is given, exactly those of it that are not `rejected`.
    """
    keys: list[str] = []
    with replacing(output) as merged:
        for part in parts:
            for number, line in enumerate(read_text(part).splitlines(), start=1):
                key, _, value = line.partition(" ")
                if not key or not value:
                    raise DataError(f"{part}:{number}: expected a key and a value, found {line!r}")
                if keys and key <= keys[-1]:
                    raise DataError(
                        f"{part}:{number}: {key} comes after {keys[-1]}; keys must be sorted and unique"
                    )
                keys.append(key)
                merged.write(f"{line}\n")
        if expected is not None:
            check_complete(keys, expected, rejected, output)
    return len(keys)


def check_complete(keys: list[str], expected: list[str], rejected: set[str], output: str | Path) -> None:
    """Raise DataError unless `keys` are the expected ones less the rejected ones."""
    if keys == [key for key in expected if key not in rejected]:
        return
    found, wanted = set(keys), set(expected) - rejected
    for label, wrong in (
        ("missing though not rejected", wanted - found),
        ("not expected", found - set(expected)),
        ("present though rejected", found & rejected),
    ):
        if wrong:
            some = ", ".join(sorted(wrong)[:3]) + (", ..." if len(wrong) > 3 else "")
            raise DataError(f"{output}: {len(wrong)} keys are {label} ({some}); run the shards again")


def read_keys(path: str | Path) -> list[str]:
    """The first column of a file, without the header that a .tsv has."""
    lines = read_text(path).splitlines()[1 if str(path).endswith(".tsv") else 0 :]
    return [line.split(maxsplit=1)[0] for line in lines if line.strip()]


def read_rejected(parts: list[str | Path]) -> list[tuple[str, str, str]]:
    """Utterance, reason and file of every rejected one in the shards' rejected.tsv, sorted."""
    return sorted((key, reason, str(part)) for part in parts for key, reason in read_tsv(part, REJECTED))


def write_rejected(path: str | Path, rejected: list[tuple[str, str, str]]) -> None:
    """Write the rejected.tsv of all shards."""
    write_tsv(path, REJECTED, [[key, reason] for key, reason, _ in rejected])


def check_rejected(rejected: list[tuple[str, str, str]], total: int, max_share: float) -> None:
    """Raise DataError, naming a rejected.tsv and the first reasons, if too many of `total` were rejected."""
    if len(rejected) > max_share * total:
        some = "; ".join(f"{key}: {reason}" for key, reason, _ in rejected[:3])
        share = f"{len(rejected)} of {total} utterances were rejected ({len(rejected) / max(total, 1):.2%})"
        raise DataError(f"{rejected[0][2]}: {share}, more than max_rejected {max_share:.2%} allows: {some}")


def describe(scp: str | Path) -> dict[str, Any]:
    """What a manifest says of an index: types and dimension of a sample of entries, bytes of the arks."""
    with ArkReader(scp) as reader:
        places = [parse_location(place, f"{scp}:{key}") for key, place in reader.places.items()]
        sample = reader.keys()[:: max(len(reader) // SAMPLE, 1)]
        kinds = {reader.entry(key).header.kind for key in sample}
        shapes = {reader.shape(key) for key in sample}
    dims = {shape[-1] for shape in shapes if shape}
    if len(dims) > 1 and any(len(shape) == 2 for shape in shapes):
        raise DataError(f"{scp}: the entries have different dimensions: {sorted(dims)}")
    try:
        size = sum(Path(path).stat().st_size for path in {place.path for place in places})
    except OSError as error:
        raise DataError(f"{scp}: {error.filename}: {error.strerror}") from None
    return {"types": sorted(kinds), "dim": dims.pop() if len(dims) == 1 else None, "bytes": size}


def describe_losses(paths: list[str | Path]) -> dict[str, Any]:
    """What a manifest says of what storing lost: by rounding, or by leaving classes out."""
    first = read_json(paths[0])
    is_topk = isinstance(first, dict) and first.get("form") == "topk"
    return describe_topk(paths) if is_topk else describe_rounding(paths)
