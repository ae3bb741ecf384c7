"""Damaged, hostile and mistaken archives end in one line that names the file and the entry."""

import gzip
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from spkdistill import arks
from spkdistill.arks import sources
from spkdistill.arks.inspect import differences, statistics
from spkdistill.errors import ConfigError, DataError

MATRIX = np.arange(24, dtype=np.float32).reshape(12, 2)
ITEMS = {
    "a": MATRIX,
    "b": MATRIX[0].astype(np.float64),
    "c": np.array([1, 2], np.int32),
}


def write(folder: Path, compression: str = "none") -> tuple[Path, Path]:
    with arks.ArkWriter(folder / "x.ark", folder / "x.scp", compression) as writer:
        for key, value in ITEMS.items():
            writer.write(key, value)
    return folder / "x.ark", folder / "x.scp"


def read(specifier: str | Path) -> dict:
    return dict(arks.read_archive(specifier))


@pytest.mark.parametrize("compression", ["none", "speech-feature", "two-byte-auto", "one-byte-auto"])
@pytest.mark.parametrize("packed", [False, True])
def test_an_ark_cut_at_any_byte_is_noticed(tmp_path, compression, packed):
    ark, _ = write(tmp_path, compression)
    whole = ark.read_bytes()
    complete = [whole.index(b"b \0B"), whole.index(b"c \0B")]
    cut = tmp_path / ("cut.ark.gz" if packed else "cut.ark")
    for size in range(1, len(whole)):
        cut.write_bytes(gzip.compress(whole[:size], 1) if packed else whole[:size])
        if size in complete:
            assert len(read(cut)) == complete.index(size) + 1
        else:
            with pytest.raises(DataError, match=r"cut\.ark"):
                read(cut)


@pytest.mark.parametrize("compression", ["none", "speech-feature", "two-byte-auto", "one-byte-auto"])
def test_an_index_into_a_cut_ark_is_noticed(tmp_path, compression):
    ark, scp = write(tmp_path, compression)
    whole = ark.read_bytes()
    for size in range(len(whole)):
        ark.write_bytes(whole[:size])
        with arks.ArkReader(scp) as reader, pytest.raises(DataError, match=r"x\.ark"):
            [reader[key] for key in reader]


def test_a_cut_gzip_file_is_noticed(tmp_path):
    packed = gzip.compress(write(tmp_path)[0].read_bytes())
    for size in range(1, len(packed)):
        (tmp_path / "cut.ark.gz").write_bytes(packed[:size])
        with pytest.raises(DataError, match=r"cut\.ark\.gz"):
            read(tmp_path / "cut.ark.gz")


@pytest.mark.parametrize("place", ["touch {marker} |", "| touch {marker}", "touch {marker}|"])
def test_a_command_in_an_scp_is_refused_and_not_run(tmp_path, place):
    marker = tmp_path / "ran"
    scp = tmp_path / "evil.scp"
    scp.write_text(f"a x.wav\nb {place.format(marker=marker)}\n")
    for use in (arks.read_scp, arks.ArkReader, read):
        with pytest.raises(DataError, match=r"evil\.scp:2: b is a command and is not run"):
            use(scp)
    assert not marker.exists()


@pytest.mark.parametrize(
    "specifier", ["ark:touch {marker} |", "scp:touch {marker}|", "ark:| touch {marker}", "touch {marker} |"]
)
def test_a_command_as_an_archive_is_refused_and_not_run(tmp_path, specifier, monkeypatch):
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "ran"
    with pytest.raises((ConfigError, DataError)):
        read(specifier.format(marker=marker))
    with pytest.raises(ConfigError):
        arks.write_archive(f"ark:| touch {marker}", ITEMS.items())
    assert not marker.exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a x.ark:2\na x.ark:9\n", "x.scp:2: a is there twice"),
        ("a x.ark:2\nb\n", "x.scp:2: expected a key and a place"),
        ("a x.ark:2\n\nb x.ark:2\n", "x.scp:2: expected a key and a place"),
        (" a x.ark:2\n", "x.scp:1: expected a key and a place"),
    ],
)
def test_a_malformed_index_names_its_line(tmp_path, text, problem):
    (tmp_path / "x.scp").write_text(text)
    with pytest.raises(DataError, match=problem):
        arks.read_scp(tmp_path / "x.scp")


def huge(token: bytes, *sizes: int) -> bytes:
    return b"a \0B" + token + b" " + b"".join(struct.pack("<bi", 4, size) for size in sizes)


def compressed(token: bytes, rows: int, columns: int) -> bytes:
    return b"a \0B" + token + b" " + struct.pack("<ffii", 0, 1, rows, columns)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        huge(b"FM", 2**31 - 1, 2**31 - 1),
        huge(b"DM", 2**31 - 1, 1),
        huge(b"FV", 2**31 - 1),
        huge(b"FM", -1, -1),
        huge(b"FM", 2**31 - 1, 0),
        huge(b"XX", 1, 1),
        b"a \0B" + struct.pack("<bi", 4, 2**31 - 1),
        b"a \0B" + struct.pack("<bi", 4, 1) + struct.pack("<bi", 8, 1),
        compressed(b"CM", 2**31 - 1, 2**31 - 1),
        compressed(b"CM2", 2**31 - 1, 2**31 - 1),
        compressed(b"CM3", -1, 5),
        b"a RIFF\xff\xff\xff\xffWAVE",
        b"a \0B" + b"F" * 200,
        b"a [ 1 2\n",
        b"a [\n 1 2\n 3 ]\n",
        b"a [ 1 x ]\n",
        b"a [ 1 1_0 ]\n",
        b"a 5000000000\n",
        b"a" * 5000,
        b"\xff\xfe \0B",
    ],
)
def test_absurd_sizes_and_contents_take_no_memory_and_name_the_file(tmp_path, data, packed, monkeypatch):
    name = "bad.ark.gz" if packed else "bad.ark"
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    taken = []
    empty, frombuffer = np.empty, np.frombuffer
    monkeypatch.setattr(
        np, "empty", lambda shape, *rest, **more: taken.append(np.prod(shape)) or empty(shape, *rest, **more)
    )
    monkeypatch.setattr(np, "frombuffer", lambda *rest, **more: taken.append(1) or frombuffer(*rest, **more))
    with pytest.raises(DataError, match=name):
        read(tmp_path / name)
    assert all(size < 1000 for size in taken)


def test_an_index_of_another_archive_is_noticed(tmp_path):
    ark, scp = write(tmp_path)
    scp.write_text(scp.read_text().replace("a ", "z "))
    with (
        arks.ArkReader(scp) as reader,
        pytest.raises(DataError, match=r"x\.ark:z: the index points to no record"),
    ):
        reader["z"]
    scp.write_text(f"a {ark}:3\nb {ark}:99999\n")
    with arks.ArkReader(scp) as reader:
        for key in ("a", "b"):
            with pytest.raises(DataError, match=rf"x\.ark:{key}: the index points"):
                reader[key]


@pytest.mark.parametrize(
    "ranges", ["[0:12,2:2]", "[20:21]", "[0:15]", "[3:2]", "[0:1,0:1,0:1]", "[-1:2]", "[0]", "[0:1:2]"]
)
def test_a_range_outside_the_matrix_is_refused(tmp_path, ranges):
    ark, scp = write(tmp_path)
    scp.write_text(f"a {ark}:2{ranges}\n")
    with arks.ArkReader(scp) as reader, pytest.raises(DataError, match=r"x\.scp:a"):
        reader["a"]


def test_a_range_may_pass_the_end_by_two_rows_as_in_kaldi(tmp_path):
    ark, scp = write(tmp_path)
    scp.write_text(f"a {ark}:2[10:14]\n")
    with arks.ArkReader(scp) as reader:
        np.testing.assert_array_equal(reader["a"], MATRIX[10:])


@pytest.mark.parametrize(("first", "frames"), [(-1, 2), (11, 2), (0, 13), (5, -1)])
def test_a_crop_outside_the_matrix_is_refused(tmp_path, first, frames):
    with arks.ArkReader(write(tmp_path)[1]) as reader, pytest.raises(DataError, match=r"x\.scp:a: rows"):
        reader.rows("a", first, frames)


def test_vectors_of_different_lengths_are_not_gathered(tmp_path):
    with arks.ArkWriter(tmp_path / "v.ark", tmp_path / "v.scp") as writer:
        writer.write("a", np.ones(3, np.float32))
        writer.write("b", np.ones(4, np.float32))
    with arks.ArkReader(tmp_path / "v.scp") as reader, pytest.raises(DataError, match=r"v\.scp:b"):
        reader.gather(["a", "b"])


def test_a_missing_key_or_file_is_named(tmp_path):
    ark, scp = write(tmp_path)
    with arks.ArkReader(scp) as reader:
        with pytest.raises(DataError, match=r"x\.scp:nobody: no such key"):
            reader["nobody"]
        ark.unlink()
        with pytest.raises(DataError, match=r"x\.ark: no such file"):
            reader["a"]


def test_a_key_twice_in_an_ark_is_noticed(tmp_path):
    ark, _ = write(tmp_path)
    ark.write_bytes(ark.read_bytes() * 2)
    with pytest.raises(DataError, match=r"x\.ark:a: the key is there twice"):
        read(ark)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("a", np.ones(3, np.float32)),
        ("A", np.ones(3, np.float32)),
        ("has blank", np.ones(3, np.float32)),
        ("", np.ones(3, np.float32)),
        ("b", np.array([1, np.nan], np.float32)),
        ("b", np.array([[1, np.inf]])),
        ("b", np.ones((2, 2, 2), np.float32)),
        ("b", np.ones((0, 5), np.float32)),
        ("b", np.ones(3, np.float16)),
        ("b", np.array([2**31])),
        ("b", np.array(["x"])),
        ("b", b"not a wave file"),
    ],
)
def test_an_entry_that_should_not_be_is_refused_and_nothing_is_left(tmp_path, key, value):
    with (
        pytest.raises(DataError, match=r"x\.ark"),
        arks.ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp") as writer,
    ):
        writer.write("a", MATRIX)
        writer.write(key, value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_archive_that_was_there(tmp_path):
    ark, scp = write(tmp_path)
    before = ark.read_bytes(), scp.read_bytes()
    with pytest.raises(KeyError), arks.ArkWriter(ark, scp) as writer:
        writer.write("a", MATRIX)
        raise KeyError
    assert (ark.read_bytes(), scp.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.ark", "x.scp"]


def test_nonfinite_values_pass_only_where_they_are_asked_for(tmp_path):
    value = np.array([[np.nan, np.inf]], np.float32)
    with arks.ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp", allow_nonfinite=True) as writer:
        writer.write("a", value)
    np.testing.assert_array_equal(read(tmp_path / "x.ark")["a"], value)
    with pytest.raises(DataError, match="NaN or infinite"):
        arks.write_archive(tmp_path / "y.ark", [("a", value)], "auto")
    with pytest.raises(DataError, match="span more than float32"):
        arks.write_archive(tmp_path / "y.ark", [("a", np.array([[-3e38, 3e38]], np.float32))], "auto")


def test_an_unknown_compression_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="'zip' is unknown; known are none, auto"):
        arks.ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp", "zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [b"", b"\0BFV \4\1\0\0\0", b"\0BFM " + struct.pack("<bibi", 4, 1, 4, 1) + b"1234", b"[ 1 2 ] 3", b"[ 1"],
)
def test_a_damaged_vector_file_is_noticed(tmp_path, data):
    (tmp_path / "mean.vec").write_bytes(data)
    with pytest.raises(DataError, match=r"mean\.vec"):
        arks.read_vector(tmp_path / "mean.vec")


def test_an_ark_in_place_of_its_index_is_named_for_what_it_is(tmp_path):
    ark, _ = write(tmp_path)
    for path in (ark, tmp_path / "zeros.ark"):
        if path != ark:
            path.write_bytes(huge(b"FV", 2) + bytes(8))  # which is UTF-8, too
        with pytest.raises(
            DataError, match=rf"{path.name}: an archive, where its index belongs; give its scp"
        ):
            arks.ArkReader(path)


def test_a_pipe_that_nobody_writes_to_does_not_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "x.scp").write_text(f"a {tmp_path}/pipe:2\n")
    with (
        arks.ArkReader(tmp_path / "x.scp") as reader,
        pytest.raises(DataError, match="pipe: a pipe, which cannot"),
    ):
        reader["a"]


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(DataError, match="name too long"):
        read("x" * 5000)


def test_doubles_beyond_float32_become_infinite_without_a_warning(tmp_path):
    signalling = np.frombuffer(b"\1\0\0\0\0\0\xf0\x7f", np.float64)[0]
    with arks.ArkWriter(tmp_path / "x.ark", tmp_path / "x.scp", allow_nonfinite=True) as writer:
        writer.write("m", np.full((2, 2), 1e300))
        writer.write("v", np.array([1e300, signalling]))
    with arks.ArkReader(tmp_path / "x.scp") as reader:
        assert np.isinf(reader.rows("m", 0, 2)).all()
        assert np.isinf(reader.gather(["v"])[0, 0])
    (tmp_path / "t.ark").write_text("a [ 1e300 -1e999 ]\n")
    np.testing.assert_array_equal(read(tmp_path / "t.ark")["a"], [np.inf, -np.inf])
    found = statistics(tmp_path / "x.ark")
    assert (found.values, found.nans) == (6, 1)
    list(differences(tmp_path / "x.ark", tmp_path / "x.scp"))


@pytest.mark.parametrize("token", [b"CM", b"CM2", b"CM3"])
@pytest.mark.parametrize(("minimum", "span"), [(np.inf, 1), (0, np.inf), (np.nan, 1), (3e38, 3e38), (0, -1)])
def test_absurd_ranges_of_compressed_matrices_decode_without_a_warning(tmp_path, token, minimum, span):
    header = b"a \0B" + token + b" " + struct.pack("<ffii", minimum, span, 2, 2)
    (tmp_path / "x.ark").write_bytes(header + bytes(range({b"CM": 20, b"CM2": 8, b"CM3": 4}[token])))
    assert read(tmp_path / "x.ark")["a"].shape == (2, 2)


@pytest.mark.parametrize(
    "data",
    [huge(b"FM", 1 << 10, 1 << 10) + bytes(4 << 20), b"a [ " + b"1 " * (1 << 21), b"a " + b"1 " * (1 << 21)],
)
def test_an_entry_that_unpacks_to_more_than_memory_may_hold_is_refused(tmp_path, data, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST", 1 << 20)
    monkeypatch.setattr(sources, "CHUNK", 1 << 16)
    (tmp_path / "bomb.ark.gz").write_bytes(gzip.compress(data, 1))
    with pytest.raises(DataError, match=r"bomb\.ark\.gz:a: an entry of \d+ bytes or more, over the limit"):
        read(tmp_path / "bomb.ark.gz")


@pytest.mark.parametrize("text", [b"a [ " + b"1 " * 500_000 + b"]\n", b"a [\n" + b"1\n" * 500_000 + b"]\n"])
def test_text_takes_little_more_memory_than_its_bytes(tmp_path, text):
    (tmp_path / "x.ark").write_bytes(text)
    tracemalloc.start()
    try:
        assert read(tmp_path / "x.ark")["a"].size == 500_000
        assert tracemalloc.get_traced_memory()[1] < 20 * len(text)
    finally:
        tracemalloc.stop()
