"""What is done to valid files: damage anywhere, and lies where a format has its counts, names and nesting."""

import gzip
import json
import re
from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import Any

import yaml

HEAD = 64  # bytes at the front, where formats keep their sizes: half of the mutations strike there
MOST = 1 << 18  # bytes of a mutated file
INTEGERS = (0, 1, -1, 2, 4, 127, 128, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1)
NUMBERS = ("-1", "0", "00", "1_0", "1e999", "-1e-999", "nan", "inf", "0x10", "١٢", "4294967296", "9" * 30)
NUMBERS += ("1e30", "9223372036854775807", "1" * 5000)
WORDS = (
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "\x1b[2J",
    "\ufeff",
    "\u2028",
    "\x85",
    "é",
    "𝄞",
    "|",
    "touch ran |",
)
WORDS += ("| touch ran", "`touch ran`", "$(touch ran)", "../../../etc/passwd", "/dev/zero", "/dev/stdin", ".")
WORDS += (
    "[0:1]",
    "[,]",
    "[9:1,1:999999999]",
    ":999999999999999999",
    ":0",
    ":99999999999999999999",
    "-",
    "x" * 5000,
)
WORDS += ("#", "'", '"', "{}", "[", "]", "]]", ";", "target", "nontarget", "label", "<Plda>", "NaN")
BYTES = (
    b"\0B",
    b"FM ",
    b"DM ",
    b"FV ",
    b"CM ",
    b"CM2 ",
    b"CM3 ",
    b"\4\1\0\0\0",
    b"\xff\xfe",
    b"\xc3",
    b"\x80",
)
BYTES += (b"RIFF", b"data", b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\0\0\0\0\xf0\x7f", b"\x1f\x8b", b"PK\3\4")
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**24,
    2**31,
    2**63,
    -(2**63),
    10**30,
    1e308,
    1e-320,
    "",
    "x",
)
VALUES += (
    [],
    {},
    [None],
    [[]],
    {"": {}},
    "nan",
    "1",
    float("nan"),
    float("inf"),
    "x" * 5000,
    list(range(2000)),
)
DEPTH = 20_000
BOMB = 20_000_000  # bytes, of some thousands in gzip
PICKLE = b"\x80\x04cos\nsystem\n(V touch ran\ntR."  # os.system("touch ran")
YAML_TAGS = (
    "!!python/object/apply:os.system ['touch ran']",
    "!!python/name:os.system",
    "!!binary aGk=",
    "!x 1",
)
YAML_TAGS += (
    "2020-01-01",
    "!!set {a, b}",
    "&a [*a]",
    "*bomb",
    "{<<: *bomb}",
    "0o17",
    "1:30",
    "~",
    "{1: 2}",
    "? [a]",
)
YAML_BOMB = "bomb0: &bomb0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"bomb{n}: &bomb{n if n < 9 else ''} [{', '.join([f'*bomb{n - 1}'] * 9)}]\n" for n in range(1, 10)
)

Mutation = Callable[[Random, bytes], bytes]


def mutate(rng: Random, name: str, data: bytes) -> bytes:
    """`data`, the content of the valid file `name`, with one to four mutations that suit its format."""
    if name.endswith(".gz") and rng.random() < 0.6:
        return packed(rng, mutate(rng, name.removesuffix(".gz"), gzip.decompress(data)))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(mutations_of(name, data))(rng, data)[:MOST]
    return data


def mutations_of(name: str, data: bytes) -> tuple[Mutation, ...]:
    """The mutations that suit a file."""
    structured: tuple[Mutation, ...] = ()
    if name.endswith(".json"):
        structured = (json_value,) * 12
    elif name.endswith(".yaml"):
        structured = (yaml_value,) * 12 + (yaml_line,) * 12
    elif name.endswith(".safetensors"):
        return BINARY + (safetensors_header,) * 12
    elif name.endswith(".onnx"):
        return BINARY + (onnx_value,) * 24
    if b"\0" in data:
        return BINARY
    return structured + TEXT + ANY


def anywhere(rng: Random, data: bytes) -> int:
    """A position, near the front half of the time."""
    return rng.randrange(min(len(data), HEAD if rng.random() < 0.5 else len(data)) + 1)


def stretch(rng: Random, data: bytes) -> slice:
    """A stretch of bytes, mostly a short one."""
    start = anywhere(rng, data)
    return slice(start, start + rng.choice((1, 4, 16, 256, len(data))))


def flip(rng: Random, data: bytes) -> bytes:
    """Some bits flipped."""
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 2, 16))):
        if flipped:
            flipped[min(anywhere(rng, data), len(data) - 1)] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def integer(rng: Random, data: bytes) -> bytes:
    """An absurd count of one, two, four or eight bytes over what was there."""
    width, at = rng.choice((1, 2, 4, 8)), anywhere(rng, data)
    value = rng.choice(INTEGERS) % (1 << 8 * width)
    return data[:at] + value.to_bytes(width, rng.choice(("little", "little", "big"))) + data[at + width :]


def truncate(rng: Random, data: bytes) -> bytes:
    """The front or the end of the file."""
    at = anywhere(rng, data)
    return data[:at] if rng.random() < 0.8 else data[at:]


def insert(rng: Random, data: bytes) -> bytes:
    """Something put in between, or over what was there."""
    found = rng.choice(
        (rng.choice(WORDS).encode(), rng.choice(BYTES), rng.randbytes(rng.choice((1, 8, 300))))
    )
    at = anywhere(rng, data)
    return data[:at] + found + data[at + (len(found) if rng.random() < 0.5 else 0) :]


def repeat(rng: Random, data: bytes) -> bytes:
    """A stretch once or many times more, there or somewhere else."""
    block, at = data[stretch(rng, data)] * rng.choice((1, 1, 100)), anywhere(rng, data)
    return data[:at] + block + data[at:]


def remove(rng: Random, data: bytes) -> bytes:
    """Without a stretch."""
    gone = stretch(rng, data)
    return data[: gone.start] + data[gone.stop :]


def foreign(rng: Random, data: bytes) -> bytes:
    """Something else altogether."""
    nested = b"[" * DEPTH + b"]" * DEPTH, b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
    return rng.choice(
        (b"", PICKLE, rng.randbytes(rng.choice((1, 100, 5000))), b"\n" * 500, data * 3, *nested)
    )


def number(rng: Random, data: bytes) -> bytes:
    """Another number in place of one."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data))
    if not found:
        return data
    old = rng.choice(found)
    return data[: old.start()] + rng.choice(NUMBERS).encode() + data[old.end() :]


def word(rng: Random, data: bytes) -> bytes:
    """Another word in place of one."""
    found = list(re.finditer(rb"\S+", data))
    if not found:
        return data
    old = rng.choice(found)
    new = rng.choice((rng.choice(WORDS).encode(), rng.choice(found)[0], old[0] + rng.choice(WORDS).encode()))
    return data[: old.start()] + new + data[old.end() :]


def lines(rng: Random, data: bytes) -> bytes:
    """Lines swapped, shuffled, doubled, emptied, joined or ended otherwise."""
    rows = data.split(b"\n")
    one, other = rng.randrange(len(rows)), rng.randrange(len(rows))
    kind = rng.randrange(7)
    if kind == 0:
        rows[one], rows[other] = rows[other], rows[one]
    elif kind == 1:
        rng.shuffle(rows)
    elif kind == 2:
        rows.insert(other, rows[one])
    elif kind == 3:
        rows[one] = b""
    elif kind == 4:
        rows[one : one + 2] = [b" ".join(rows[one : one + 2])]
    elif kind == 5:
        rows[one] *= MOST // (len(rows[one]) + 1)
    return (b"\r\n" if kind == 6 else b"\n").join(rows)


def json_value(rng: Random, data: bytes) -> bytes:
    """Another value, key or nesting at a place in JSON."""
    try:
        changed = change(rng, json.loads(data))
    except (ValueError, RecursionError):
        return flip(rng, data)
    text = json.dumps(changed)
    if rng.random() < 0.1:
        deep = rng.choice(
            ("[" * DEPTH + "]" * DEPTH, "[" * 50 + "]" * 50, "1" * 6000, "-", "1e999", '{"a":1,"a":2}')
        )
        text = re.sub(r'(?<=: )("[^"]*"|\d+)', lambda _: deep, text, count=1)
    return text.encode()


def yaml_value(rng: Random, data: bytes) -> bytes:
    """Another value, key or nesting at a place in YAML."""
    try:
        return yaml.safe_dump(change(rng, yaml.safe_load(data)), sort_keys=False).encode()
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return flip(rng, data)


def yaml_line(rng: Random, data: bytes) -> bytes:
    """A tag, an alias (of a bomb, too), a date or another thing that YAML knows, in place of a value."""
    rows = data.decode("utf-8", "replace").split("\n")
    keyed = [index for index, row in enumerate(rows) if re.match(r"\s*[\w.-]+:", row)]
    if not keyed:
        return flip(rng, data)
    index, new = rng.choice(keyed), rng.choice(YAML_TAGS)
    rows[index] = rows[index].partition(":")[0] + ": " + new
    return ((YAML_BOMB if "*bomb" in new else "") + "\n".join(rows)).encode()


def safetensors_header(rng: Random, data: bytes) -> bytes:
    """Another value in the header (dtype, shape, offsets), its length set right most of the time."""
    size = int.from_bytes(data[:8], "little")
    header = json_value(rng, data[8 : 8 + size])
    length = len(header) if rng.random() < 0.9 else rng.choice(INTEGERS) % 2**64
    return length.to_bytes(8, "little") + header + data[8 + size :]


def onnx_value(rng: Random, data: bytes) -> bytes:
    """Another value or nesting at a place in an ONNX model, as far as its fields can hold it."""
    import onnx
    from google.protobuf import json_format, message

    try:
        model = json_format.MessageToDict(onnx.ModelProto.FromString(data))
    except (message.DecodeError, ValueError):
        return flip(rng, data)
    for _ in range(20):
        try:
            changed = json_format.ParseDict(change(rng, model), onnx.ModelProto())
        except Exception:  # json_format does not expect such values
            continue
        return changed.SerializeToString()
    return flip(rng, data)


def packed(rng: Random, data: bytes) -> bytes:
    """The gzip of `data`; now and then with a bomb behind it."""
    if rng.random() < 0.02:
        filler = rng.choice((b"\0", b"1 ", b"\n", b"[ 1\n"))
        data += filler * (BOMB // len(filler))
    return gzip.compress(data, 1)


def change(rng: Random, value: Any) -> Any:
    """`value` with something else at one place of it."""
    root = [deepcopy(value)]
    container, key = rng.choice(places(root))
    kind = rng.randrange(5)
    if kind == 0 and len(container) > 1:
        del container[key]
    elif kind == 1 and isinstance(container, dict):
        container[rng.choice(WORDS)] = container.pop(key)
    elif kind == 2 and isinstance(container, dict):
        container[rng.choice(WORDS)] = deepcopy(rng.choice(VALUES))
    elif kind == 3:
        donor, other = rng.choice(places(root))
        container[key] = deepcopy(donor[other])
    else:
        container[key] = deepcopy(rng.choice(VALUES))
    return root[0] if root else None


def places(root: list) -> list[tuple[Any, Any]]:
    """(container, key) of every value below `root`."""
    found, waiting = [], [root]
    while waiting:
        container = waiting.pop()
        for key, value in container.items() if isinstance(container, dict) else enumerate(container):
            found.append((container, key))
            if isinstance(value, dict | list) and len(found) < 5000:
                waiting.append(value)
    return found


ANY: tuple[Mutation, ...] = (flip, truncate, insert, repeat, remove, foreign)
BINARY: tuple[Mutation, ...] = (*ANY, flip, integer, integer, integer, integer)
TEXT: tuple[Mutation, ...] = (number, number, word, word, lines, lines)
