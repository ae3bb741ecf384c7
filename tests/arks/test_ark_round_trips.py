"""What is written is what is read, by this package and by kaldiio, in both directions."""

import gzip
import io
from pathlib import Path

import hypothesis.extra.numpy as arrays
import kaldiio
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from spkdistill import arks

KEYS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=8)
SHAPES = st.one_of(arrays.array_shapes(min_dims=1, max_dims=2, max_side=12))


def finite(dtype: type) -> st.SearchStrategy:
    return st.floats(-1e6, 1e6, width=32) if dtype is np.float32 else st.floats(-1e12, 1e12)


VALUES = st.one_of(
    arrays.arrays(np.float32, SHAPES, elements=finite(np.float32)),
    arrays.arrays(np.float64, SHAPES, elements=finite(np.float64)),
    arrays.arrays(np.int32, st.integers(1, 12)),
)
ARCHIVES = st.dictionaries(KEYS, VALUES, min_size=1, max_size=5).map(
    lambda items: dict(sorted(items.items()))
)


def assert_equal(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].dtype == value.dtype
        assert found[key].flags.writeable


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("arks")


def write(folder: Path, items: dict, compression: str = "none") -> Path:
    with arks.ArkWriter(folder / "x.ark", folder / "x.scp", compression) as writer:
        for key, value in items.items():
            writer.write(key, value)
    return folder / "x.scp"


@given(items=ARCHIVES)
@settings(max_examples=50, deadline=None)
def test_values_survive_by_index_and_in_order(folder, items):
    scp = write(folder, items)
    with arks.ArkReader(scp) as reader:
        assert_equal({key: reader[key] for key in reader}, items)
        assert {key: reader.shape(key) for key in reader} == {
            key: value.shape for key, value in items.items()
        }
    assert_equal(dict(arks.read_archive(scp)), items)
    assert_equal(dict(arks.read_archive(scp.with_suffix(".ark"))), items)


@given(items=ARCHIVES)
@settings(max_examples=40, deadline=None)
def test_kaldiio_reads_what_is_written(folder, items):
    scp = write(folder, items)
    for key, value in kaldiio.load_scp(str(scp)).items():
        np.testing.assert_array_equal(value, items[key])
    assert [key for key, _ in kaldiio.load_ark(str(scp.with_suffix(".ark")))] == list(items)


@given(items=ARCHIVES)
@settings(max_examples=40, deadline=None)
def test_what_kaldiio_writes_is_read(folder, items):
    ark, scp = str(folder / "k.ark"), str(folder / "k.scp")
    kaldiio.save_ark(ark, items, scp=scp)
    with arks.ArkReader(scp) as reader:
        assert_equal({key: reader[key] for key in reader}, items)
    assert_equal(dict(arks.read_archive(ark)), items)


@given(items=ARCHIVES)
@settings(max_examples=40, deadline=None)
def test_text_gzip_and_binary_agree_to_seven_digits(folder, items):
    text = folder / "x.txt.gz"
    arks.write_archive(f"ark,t:{text}", items.items())
    for key, value in arks.read_archive(f"ark:{text}"):
        assert value.shape == items[key].shape
        np.testing.assert_allclose(value, items[key], rtol=6e-7, atol=1e-30)
    binary = folder / "x.ark.gz"
    arks.write_archive(f"ark:{binary}", items.items())
    assert_equal(dict(arks.read_archive(binary)), items)
    assert gzip.decompress(binary.read_bytes()).startswith(next(iter(items)).encode() + b" \0B")


UNDERFLOW = 65535 * float(np.finfo(np.float32).smallest_subnormal)  # of a step, over a range of 1e-38
MATRICES = arrays.arrays(
    np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=30), elements=finite(np.float32)
)


@pytest.mark.parametrize("method", ["auto", "speech-feature", "two-byte-auto", "one-byte-auto"])
@given(matrix=MATRICES)
@settings(max_examples=40, deadline=None)
def test_compression_loses_no_more_than_its_step(folder, method, matrix):
    with arks.ArkReader(write(folder, {"m": matrix}, method)) as reader:
        found = reader["m"]
    span = float(np.ptp(matrix)) or 1 + abs(float(matrix.flat[0]))
    # CM: a percentile is a two-byte integer and a piece between two has 63 steps at least
    step = {"two-byte-auto": 1 / 65535, "one-byte-auto": 1 / 255}.get(method, 1 / 63)
    rounding = 8 * np.spacing(np.float32(np.abs(matrix).max() + span)) + UNDERFLOW
    assert np.abs(found.astype(float) - matrix).max() <= 0.51 * step * span + 4 * span / 65535 + rounding


@pytest.mark.parametrize("method", [name for name in arks.COMPRESSIONS if name != "none"])
@given(matrix=MATRICES)
@settings(max_examples=25, deadline=None)
def test_kaldiio_decodes_compressed_matrices_alike(folder, method, matrix):
    scp = write(folder, {"m": matrix}, method)
    with arks.ArkReader(scp) as reader:
        found = reader["m"]
    tolerance = 8 * np.spacing(np.float32(np.abs(found).max() + np.ptp(found))) + UNDERFLOW
    np.testing.assert_allclose(found, kaldiio.load_scp(str(scp))["m"], rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", ["none", "speech-feature", "two-byte-auto", "one-byte-auto"])
@given(matrix=MATRICES, data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_crop_is_those_rows_of_the_whole(folder, method, matrix, data):
    first = data.draw(st.integers(0, len(matrix)))
    frames = data.draw(st.integers(0, len(matrix) - first))
    with arks.ArkReader(write(folder, {"m": matrix}, method)) as reader:
        np.testing.assert_array_equal(reader.rows("m", first, frames), reader["m"][first : first + frames])


def test_a_crop_of_a_range_counts_from_the_range(tmp_path):
    matrix = np.arange(60, dtype=np.float32).reshape(20, 3)
    for method in ("none", "two-byte-auto", "speech-feature"):
        scp = write(tmp_path, {"m": matrix}, method)
        (tmp_path / "r.scp").write_text(scp.read_text().replace("m ", "part ").replace("\n", "[5:9,1:2]\n"))
        with arks.ArkReader(scp) as reader:
            whole = reader["m"]
        with arks.ArkReader(tmp_path / "r.scp") as reader:
            assert reader.shape("part") == (5, 2)
            np.testing.assert_array_equal(reader["part"], whole[5:10, 1:3])
            np.testing.assert_array_equal(reader.rows("part", 1, 2), whole[6:8, 1:3])


def test_vectors_are_gathered_in_the_order_of_the_keys(tmp_path):
    items = {f"u{index}": np.full(4, index, np.float64 if index % 2 else np.float32) for index in range(6)}
    with arks.ArkReader(write(tmp_path, items)) as reader:
        batch = reader.gather(["u3", "u0", "u3", "u5"])
    assert batch.dtype == np.float32
    assert batch[:, 0].tolist() == [3, 0, 3, 5]


def test_wave_files_keep_their_bytes(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, np.arange(-100, 100, dtype=np.int16), 16000, format="WAV", subtype="PCM_16")
    data = file.getvalue()
    with arks.ArkWriter(tmp_path / "w.ark", tmp_path / "w.scp") as writer:
        writer.write("a", data)
        writer.write("b", data)
    assert dict(arks.read_archive(tmp_path / "w.ark")) == {"a": data, "b": data}
    assert dict(arks.read_archive(tmp_path / "w.scp")) == {"a": data, "b": data}
    rate, samples = kaldiio.load_scp(str(tmp_path / "w.scp"))["b"]
    assert (rate, samples.tolist()) == (16000, list(range(-100, 100)))


def test_text_of_strange_but_legal_form_is_read(tmp_path):
    (tmp_path / "x").write_text("v [ 1 2.5 nan ]\nm  [\n 1 2\n\n 3 -inf ]\ni 1 -2 \nempty \ne [ ]\n")
    found = dict(arks.read_archive(tmp_path / "x"))
    np.testing.assert_array_equal(found["v"], np.array([1, 2.5, np.nan], np.float32))
    np.testing.assert_array_equal(found["m"], np.array([[1, 2], [3, -np.inf]], np.float32))
    assert found["i"].tolist() == [1, -2]
    assert found["i"].dtype == np.int32
    assert len(found["empty"]) == len(found["e"]) == 0


def test_an_index_of_a_text_archive_is_read(tmp_path):
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
    arks.write_archive(f"ark,scp,t:{tmp_path}/t.ark,{tmp_path}/t.scp", [("b", matrix), ("a", matrix[0])])
    with arks.ArkReader(tmp_path / "t.scp") as reader:
        np.testing.assert_array_equal(reader.rows("b", 1, 2), matrix[1:])
        np.testing.assert_array_equal(reader.gather(["a"]), matrix[:1])


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_single_objects_survive(tmp_path, binary, dtype):
    matrix = np.linspace(-1, 1, 12).astype(dtype).reshape(4, 3)
    arks.write_matrix(tmp_path / "m", matrix, binary)
    arks.write_vector(tmp_path / "v", matrix[0], binary)
    np.testing.assert_allclose(arks.read_matrix(tmp_path / "m"), matrix, rtol=0 if binary else 5e-7)
    np.testing.assert_allclose(arks.read_vector(tmp_path / "v"), matrix[0], rtol=0 if binary else 5e-7)
    np.testing.assert_allclose(kaldiio.load_mat(str(tmp_path / "m")), matrix, rtol=0 if binary else 5e-7)
