"""Archives of the real Kaldi tools: read to the last digit, and written with the bytes Kaldi writes."""

from pathlib import Path

import numpy as np
import pytest

from spkdistill import arks
from spkdistill.arks.inspect import faults
from spkdistill.errors import DataError

pytestmark = pytest.mark.golden
METHODS = {number: name for name, number in arks.COMPRESSIONS.items() if number}


@pytest.fixture(autouse=True)
def inside(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The paths in Kaldi's scp files are relative to the folder; tests read there and write to tmp_path."""
    monkeypatch.chdir(golden)


def read(specifier: str | Path) -> dict[str, np.ndarray]:
    return dict(arks.read_archive(specifier))


def as_text(specifier: str, tmp_path: Path) -> str:
    arks.write_archive(f"ark,t:{tmp_path / 'text'}", arks.read_archive(specifier))
    return (tmp_path / "text").read_text()


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
        assert found[key].dtype == value.dtype


def test_text_archive_reads_as_the_float32_that_kaldi_read():
    assert_equal(read("compress/in.txt"), read("compress/in.ark"))


def test_ark_and_scp_have_the_bytes_that_kaldi_wrote(tmp_path):
    ark, scp = tmp_path / "in.ark", tmp_path / "in.scp"
    arks.write_archive(f"ark,scp:{ark},{scp}", arks.read_archive("compress/in.txt"))
    assert ark.read_bytes() == Path("compress/in.ark").read_bytes()
    assert scp.read_text() == Path("compress/in.scp").read_text().replace("compress/in.ark", str(ark))


@pytest.mark.parametrize("method", METHODS)
def test_compressed_matrices_decode_as_kaldi_decodes_them(method, tmp_path):
    assert_equal(read(f"compress/cm{method}.ark"), read(f"compress/cm{method}-decompressed.ark"))
    assert as_text(f"compress/cm{method}.ark", tmp_path) == Path(f"compress/cm{method}.txt").read_text()


@pytest.mark.parametrize("method", METHODS)
def test_compression_gives_the_bytes_that_kaldi_gives(method, tmp_path):
    arks.write_archive(tmp_path / "cm.ark", arks.read_archive("compress/in.txt"), METHODS[method])
    found = np.fromfile(tmp_path / "cm.ark", np.uint8)
    expected = np.fromfile(f"compress/cm{method}.ark", np.uint8)
    assert len(found) == len(expected)
    # Kaldi built with other options flips a quantum now and then; this build's bytes are matched in full.
    assert np.count_nonzero(found != expected) <= len(expected) // 200


def test_compressed_features_are_those_of_the_plain_ones_within_a_quantum():
    plain = read("feats/mfcc.scp")
    for key, value in read("compress/mfcc.scp").items():
        token_step = np.ptp(plain[key]) / 63  # the widest step that a one-byte column can have
        assert np.abs(value - plain[key]).max() < token_step, key


def test_crops_of_compressed_features_are_rows_of_the_whole():
    whole = read("compress/mfcc-first-decompressed.ark")
    with arks.ArkReader("compress/mfcc.scp") as reader:
        for key, value in whole.items():
            first, frames = len(value) // 5, len(value) // 2
            crop = reader.rows(key, first, frames)
            np.testing.assert_array_equal(crop, value[first : first + frames])


@pytest.mark.parametrize("name", ["ranges", "ranges-cm"])
def test_scp_ranges_include_both_ends(name, tmp_path):
    assert as_text(f"compress/{name}.scp", tmp_path) == Path(f"compress/{name}.txt").read_text()


@pytest.mark.parametrize("name", ["mfcc", "fbank80", "fbank40"])
def test_numbers_of_frames_and_first_frames_are_those_kaldi_printed(name, tmp_path):
    lines = Path(f"feats/{name}-num_frames.txt").read_text().split("\n")[:-1]
    with arks.ArkReader(f"feats/{name}.scp") as reader:
        assert [f"{key} {reader.shape(key)[0]} " for key in reader] == lines
        key = reader.keys()[0]
        first = reader.rows(key, 0, 60)
    text = f"{key} {arks.encode_text(first).decode()}"
    assert text == Path(f"feats/{name}-first60.txt").read_text()


def test_dimensions_are_those_kaldi_printed():
    shapes = {record.key: record.shape for record in arks.read_records("compress/in.ark", values=False)}
    lines = [line.split() for line in Path("compress/in-dims.txt").read_text().splitlines()]
    assert shapes == {key: (int(rows), int(columns)) for key, rows, columns in lines}
    dim = int(Path("feats/mfcc-dim.txt").read_text())
    assert {value.shape[1] for value in read("feats/mfcc.scp").values()} == {dim}


def test_integer_archive_of_frame_counts_keeps_kaldis_text(tmp_path):
    counts = "compress/subset-num_frames.txt"
    features = read("feats/mfcc.scp")
    assert {key: value.tolist() for key, value in read(counts).items()} == {
        key: [len(features[key])] for key in list(features)[: len(read(counts))]
    }
    assert as_text(counts, tmp_path) == Path(counts).read_text()


def test_subsampled_rows_are_every_third():
    source = read("compress/in.ark")
    for key, value in read("compress/subsample3o1.txt").items():
        np.testing.assert_allclose(source[key][1::3], value, rtol=5e-7)


@pytest.mark.parametrize(
    ("ark", "text"),
    [
        ("compress/in.ark", "compress/in-copy-matrix.txt"),
        ("vad/vad.scp", "vad/vad.txt"),
        ("ivec/train-lda-lennorm.ark", "ivec/train-lda-lennorm.txt"),
        ("ivec/enroll-a-spk.ark", "ivec/enroll-a-spk.txt"),
        ("ivec/enroll-b-spk.ark", "ivec/enroll-b-spk.txt"),
    ],
)
def test_text_form_is_kaldis_to_the_last_blank(ark, text, tmp_path):
    assert as_text(ark, tmp_path) == Path(text).read_text()


@pytest.mark.parametrize("name", ["train", "enroll-a", "test-a", "enroll-b", "test-b", "adapt"])
def test_vectors_are_the_same_from_text_ark_and_scp(name, tmp_path):
    expected = read(f"ivec/{name}.txt")
    assert_equal(read(f"ivec/{name}.ark"), expected)
    with arks.ArkReader(f"ivec/{name}.scp") as reader:
        np.testing.assert_array_equal(reader.gather(reader.keys()), np.stack(list(expected.values())))
    arks.write_archive(tmp_path / "ark", expected.items())
    assert (tmp_path / "ark").read_bytes() == Path(f"ivec/{name}.ark").read_bytes()


def test_single_objects_are_the_same_from_binary_and_text():
    np.testing.assert_allclose(
        arks.read_vector("ivec/mean.bin.vec"), arks.read_vector("ivec/mean.vec"), rtol=5e-7
    )
    for matrix in sorted(Path("ivec").glob("lda-*.mat")):
        np.testing.assert_allclose(
            arks.read_matrix(matrix), arks.read_matrix(matrix.with_suffix(".txt")), rtol=5e-7
        )


def test_single_objects_have_the_bytes_that_kaldi_wrote(tmp_path):
    for path in [*sorted(Path("ivec").glob("lda-*.mat")), Path("ivec/lda-tcf0.0.txt")]:
        matrix, binary = arks.read_matrix(path), path.suffix == ".mat"
        arks.write_matrix(tmp_path / "matrix", matrix, binary)
        assert (tmp_path / "matrix").read_bytes() == path.read_bytes()
    arks.write_vector(tmp_path / "vector", arks.read_vector("ivec/mean.bin.vec"))
    assert (tmp_path / "vector").read_bytes() == Path("ivec/mean.bin.vec").read_bytes()
    arks.write_vector(tmp_path / "vector", arks.read_vector("ivec/mean.vec"), binary=False)
    assert (tmp_path / "vector").read_bytes() == Path("ivec/mean.vec").read_bytes()


def test_tokens_of_a_plda_are_read_and_written_as_kaldi_does(tmp_path):
    for path in ("ivec/plda", "ivec/plda.txt"):
        with arks.reading_object(path) as reader:
            reader.expect("<Plda>")
            mean, transform, psi = reader.vector(), reader.matrix(), reader.vector()
            reader.expect("</Plda>")
        with arks.writing_object(tmp_path / "plda", binary=not path.endswith(".txt")) as writer:
            writer.token("<Plda>")
            writer.vector(mean)
            writer.matrix(transform)
            writer.vector(psi)
            writer.token("</Plda>")
        assert (tmp_path / "plda").read_bytes() == Path(path).read_bytes()


def test_a_table_of_words_is_no_archive():
    with pytest.raises(DataError, match=r"ivec/train\.utt2spk:"):
        read("ivec/train.utt2spk")


def test_every_index_agrees_with_its_archive(golden: Path):
    indices = [
        path
        for folder in ("feats", "vad", "cmvn", "compress", "ivec")
        for path in sorted(golden.glob(f"{folder}/*.scp"))
    ]
    assert indices
    assert [fault for path in indices for fault in faults(path)] == []
