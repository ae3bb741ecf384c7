"""A file is complete or absent."""

import pytest

from spkdistill.errors import DataError
from spkdistill.files import read_json, read_text, read_tsv, replacing, write_text, write_tsv


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "file") as file:
        file.write("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_table_comes_back_as_it_was_written(tmp_path):
    write_tsv(tmp_path / "t.tsv", ["a", "b"], [["1", "x y"], ["2", ""]])
    assert read_tsv(tmp_path / "t.tsv", ["a", "b"]) == [["1", "x y"], ["2", ""]]


@pytest.mark.parametrize(
    ("text", "said"),
    [("a\tc\n", ":1: expected the header a b"), ("a\tb\n1\n", ":2: expected 2 tab"), ("", ":1:")],
)
def test_a_table_that_is_not_the_one_expected_is_named(tmp_path, text, said):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_tsv(tmp_path / "t.tsv", ["a", "b"])


def test_json_that_does_not_parse_is_named_with_its_line(tmp_path):
    (tmp_path / "m.json").write_text('{"a": 1,\n oops}')
    with pytest.raises(DataError, match=r"m\.json:2: not valid JSON"):
        read_json(tmp_path / "m.json")


def test_missing_and_binary_files_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "absent.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_json_beyond_all_measure_is_named(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(DataError, match=r"m\.json: JSON beyond all measure"):
        read_json(tmp_path / "m.json")


def test_a_byte_order_mark_is_named_for_what_it_is(tmp_path):
    (tmp_path / "utt2spk").write_text("\ufeffa b\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"utt2spk: begins with a byte order mark \(BOM\)"):
        read_text(tmp_path / "utt2spk")


def test_line_ends_of_other_systems_are_newlines(tmp_path):
    (tmp_path / "t").write_bytes(b"a\r\nb\rc\n")
    assert read_text(tmp_path / "t") == "a\nb\nc\n"


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "a\u2028b", "a\0", "\u202ea", "x" * 100_000])
def test_a_message_is_one_short_line_that_tells_a_terminal_nothing(name):
    message = str(DataError(f"{name}: damaged"))
    assert message.isprintable()
    assert len(message) < 1100
    assert message.endswith(": damaged")


def test_a_message_keeps_the_letters_of_other_languages():
    assert str(DataError("König 山田: kaputt")) == "König 山田: kaputt"
