"""`spkdistill ark` and `spkdistill merge` as a person and as Snakemake use them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spkdistill import arks
from spkdistill.cli import main

GENERATOR = np.random.default_rng(7)
FEATURES = {f"u{index}": GENERATOR.normal(3, 5, (20 + index, 4)).astype(np.float32) for index in range(3)}
VECTORS = {"a": np.array([1, 2, 3], np.float32), "b": np.array([4, 5, 6], np.float32)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with feats.ark, feats.scp, vectors.ark and vectors.scp, in which the commands run."""
    monkeypatch.chdir(tmp_path)
    arks.write_archive("ark,scp:feats.ark,feats.scp", FEATURES.items())
    arks.write_archive("ark,scp:vectors.ark,vectors.scp", VECTORS.items())
    return tmp_path


def run(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, list[str], str]:
    """The exit status, the lines of stdout and the text of stderr."""
    status = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_ls_lists_key_type_and_dimensions(capsys):
    arks.write_archive("ints.txt.ark", [("i", np.array([7, 8], np.int32))])
    status, lines, _ = run(capsys, "ark", "ls", "feats.scp", "vectors.ark", "ints.txt.ark")
    assert status == 0
    assert lines[0] == "u0\tFM\t20x4"
    assert lines[3:] == ["a\tFV\t3", "b\tFV\t3", "i\tint32\t2"]


def test_lists_are_aligned_on_a_terminal(capsys, monkeypatch):
    arks.write_archive("long.ark", [("short", np.ones(3)), ("much-longer", np.ones((2, 10)))])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, lines, _ = run(capsys, "ark", "ls", "long.ark")
    assert lines == ["short        DV  3", "much-longer  DM  2x10"]


def test_head_shows_the_first_values(capsys):
    _, lines, _ = run(capsys, "ark", "head", "-n", 1, "vectors.scp")
    assert lines == ["a\tFV\t3\t1 2 3"]


def test_stat_agrees_with_numpy_and_counts_nan_and_infinity(capsys):
    everything = np.concatenate([value.ravel() for value in FEATURES.values()]).astype(np.float64)
    spoilt = {**FEATURES, "x": np.array([[np.nan, np.inf, -np.inf, 1e3]], np.float32)}
    arks.write_archive("spoilt.ark", spoilt.items())
    everything = np.append(everything, 1e3)
    _, lines, _ = run(capsys, "ark", "stat", "spoilt.ark")
    found = dict(line.split("\t") for line in lines)
    assert found["entries"] == "4"
    assert found["types"] == "FM"
    assert found["rows"] == "1..22, 64 in all"
    assert found["values"] == "256"
    assert (found["nan"], found["inf"]) == ("1", "2")
    for name, value in [
        ("min", everything.min()),
        ("mean", everything.mean()),
        ("max", 1e3),
        ("std", everything.std()),
    ]:
        assert float(found[name]) == pytest.approx(value, rel=1e-6), name


def test_show_prints_kaldis_text_of_the_rows_asked_for(capsys):
    _, lines, _ = run(capsys, "ark", "show", "feats.ark", "u1", "--rows", "2:3")
    assert lines[0] == "u1  ["
    assert [[float(word) for word in line.strip(" ]").split()] for line in lines[1:]] == [
        pytest.approx(row, rel=1e-6) for row in FEATURES["u1"][2:4].tolist()
    ]
    _, lines, _ = run(capsys, "ark", "show", "vectors.scp", "b", "a")
    assert lines == ["b  [ 4 5 6 ]", "a  [ 1 2 3 ]"]


TOP = np.array([[5, 3, 0, 4, 1, 4], [2, 1.5, 6, 2, -1, -0.5]], np.float32)  # 2 and the target of 5; T 1 and 4


def write_top() -> dict[int, float]:
    """Two views' largest logits; the mass left of the first at each temperature."""
    with arks.TopKWriter("top.ark", "top.scp", "top.1.json", arks.Layout(5, 2, (1.0, 4.0))) as writer:
        writer.write("v0", TOP)
        writer.write("v1", TOP + np.array([[0] * 6, [0, 1, 1, 1, 1, 1]], np.float32))
    dense = {1: [6, 1.5, 2, -1, -1], 4: [6, 1.5, 2, -0.5, -0.5]}
    powers = {temperature: np.exp(np.array(logits) / temperature) for temperature, logits in dense.items()}
    return {temperature: power[3:].sum() / power.sum() for temperature, power in powers.items()}


def test_show_says_which_classes_the_largest_logits_are_of_and_what_the_others_share(capsys):
    masses = write_top()
    _, lines, _ = run(capsys, "ark", "show", "top.scp", "v0")
    rows = [line.split("\t") for line in lines]
    assert rows[:4] == [
        ["v0", "the target and the 2 largest others of 5 logits"],
        ["class 3", "1.5", "target"],
        ["class 0", "6"],
        ["class 4", "2"],
    ]
    assert [row[:2] for row in rows[4:]] == [["2 others", "-1"], ["2 others", "-0.5"]]
    for row, (temperature, mass) in zip(rows[4:], masses.items(), strict=True):
        assert row[2].endswith(f" at temperature {temperature}")
        assert float(row[2].split()[1]) == pytest.approx(mass, rel=1e-6)
    _, lines, _ = run(capsys, "ark", "show", "top.scp", "v0", "--rows", "1:1")
    assert lines == ["v0  [", "  2 1.5 6 2 -1 -0.5 ]"]


def test_stat_of_largest_logits_is_of_the_logits_and_of_the_masses_left(capsys):
    masses = write_top()
    _, lines, _ = run(capsys, "ark", "stat", "top.scp")
    found = dict(line.split("\t") for line in lines)
    assert found["logits"] == "of the target and the 2 largest others of 5"
    assert (found["values"], found["min"], found["max"]) == ("6", "1.5", "7")
    for temperature, mass in masses.items():
        told = found[f"left at T {temperature}"].replace(",", "").split()
        assert (float(told[2]), float(told[4])) == pytest.approx((mass, mass), rel=1e-6)


def test_merge_of_largest_logits_says_what_they_left_out(capsys):
    masses = write_top()
    files = [
        "--parts",
        "top.scp",
        "--rounding",
        "top.1.json",
        "--output",
        "all.scp",
        "--manifest",
        "all.json",
    ]
    assert run(capsys, "merge", "--stage", "dump", *files)[0] == 0
    contents = json.loads(Path("all.json").read_text())["contents"]
    assert (contents["form"], contents["classes"], contents["k"]) == ("topk", 5, 2)
    assert contents["bytes_per_entry"] == Path("top.ark").stat().st_size / 2
    assert [left["temperature"] for left in contents["left"]] == [1, 4]
    assert [left["mean_mass"] for left in contents["left"]] == pytest.approx(list(masses.values()), rel=1e-6)
    run(capsys, "ark", "copy", "top.scp", "top.txt")
    other = json.loads(Path("top.1.json").read_text()) | {"k": 3}
    Path("top.2.json").write_text(json.dumps(other))
    status, _, err = run(capsys, "merge", "--stage", "dump", *files[:4], "top.2.json", *files[4:])
    assert (status, "other classes, k or temperatures" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments", [("feats.ark", "u9"), ("feats.scp", "u9"), ("feats.scp", "u1", "--rows", "0:99")]
)
def test_show_names_what_is_not_there(capsys, arguments):
    status, _, err = run(capsys, "ark", "show", *arguments)
    assert status == 1
    assert err.startswith("spkdistill: error: ")
    assert arguments[1] in err


def test_diff_finds_the_greatest_difference_and_keys_of_one_side(capsys):
    changed = {key: value.copy() for key, value in FEATURES.items()}
    changed["u1"][4, 2] += 0.5
    reordered = [*list(changed.items())[:0:-1], ("new", np.ones(2, np.float32))]
    arks.write_archive("other.ark", reordered)
    status, lines, err = run(capsys, "ark", "diff", "feats.scp", "other.ark")
    assert status == 1
    assert len(err.splitlines()) == 1
    assert sorted(line.split("\t")[0] for line in lines[:-1]) == ["new", "u0", "u1"]
    line = next(line for line in lines if line.startswith("u1"))
    assert line.split("\t")[1] == "abs 0.5"
    assert line.endswith("at 4,2")
    relative = 0.5 / max(abs(changed["u1"][4, 2]), abs(FEATURES["u1"][4, 2]))
    assert float(line.split("\t")[2].removeprefix("rel ")) == pytest.approx(relative, rel=1e-5)
    assert "u0\tonly in feats.scp" in lines
    assert "new\tonly in other.ark" in lines


def test_diff_is_content_within_the_tolerance_and_with_equal_nan(capsys):
    arks.write_archive("a.ark", [("k", np.array([1, np.nan, np.inf], np.float32))])
    arks.write_archive("b.ark", [("k", np.array([1.25, np.nan, np.inf], np.float32))])
    assert run(capsys, "ark", "diff", "a.ark", "b.ark", "--tolerance", "0.25")[0] == 0
    assert run(capsys, "ark", "diff", "a.ark", "b.ark", "--tolerance", "0.24")[0] == 1
    arks.write_archive("b.ark", [("k", np.array([1, 2, np.inf], np.float32))])
    assert run(capsys, "ark", "diff", "a.ark", "b.ark", "--tolerance", "1e9")[0] == 1


def test_check_is_silent_about_sound_archives(capsys):
    status, lines, err = run(capsys, "ark", "check", "feats.scp", "vectors.ark")
    assert (status, lines) == (0, [])
    assert err == "feats.scp vectors.ark: no faults\n"


def spoil(name: str) -> None:
    ark, scp = Path("feats.ark"), Path("feats.scp")
    lines, data = scp.read_text().splitlines(keepends=True), ark.read_bytes()
    if name == "not indexed":
        scp.write_text(lines[0] + lines[2])
    elif name == "no record":
        scp.write_text("".join(lines) + f"u9 feats.ark:{len(data)}\n")
    elif name == "renamed":
        scp.write_text(lines[0] + lines[1].replace("u1", "u5") + lines[2])
    elif name == "order":
        scp.write_text(lines[1] + lines[0] + lines[2])
    elif name == "same offset":
        scp.write_text("".join(lines) + "u9 " + lines[2].split()[1] + "\n")
    elif name == "left over":
        ark.write_bytes(data + b"rest")
    elif name == "cut":
        ark.write_bytes(data[:-1])
    elif name == "not finite":
        ark.write_bytes(data[:-4] + np.float32(np.nan).tobytes())
    elif name == "pipe":
        scp.write_text(lines[0] + "u1 cat feats.ark |\n")
    elif name == "absent":
        ark.unlink()


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("not indexed", ["feats.ark:u1: the record at byte 341 is not in the index"]),
        ("no record", ["feats.ark:u9: the index points to byte 1062, where no record begins"]),
        ("renamed", ["feats.ark:u1: the record at byte 341 is u5 in the index"]),
        ("order", ["feats.scp:u0: offset 3 comes after 341"]),
        (
            "same offset",
            [
                "feats.scp:u9: has the offset 695 of u2",
                "feats.ark:u2: the record at byte 695 is u9 in the index",
            ],
        ),
        ("left over", ["feats.ark: damaged or no archive: a key is expected, not b'rest' (at byte 1062)"]),
        (
            "cut",
            [
                "feats.ark:u2: FM of shape (22, 4) needs 352 bytes and 351 are left;"
                " the file is cut short (at byte 710)"
            ],
        ),
        ("not finite", ["feats.ark:u2: 1 of 88 values are NaN or infinite"]),
        ("pipe", ["feats.scp:2: u1 is a command and is not run: cat feats.ark |"]),
        ("absent", ["feats.ark: no such file"]),
    ],
)
def test_check_has_a_line_for_every_fault(capsys, name, faults):
    spoil(name)
    status, lines, err = run(capsys, "ark", "check", "feats.scp")
    assert status == 1
    assert lines[: len(faults)] == faults
    assert err == f"spkdistill: error: feats.scp: {len(lines)} faults\n"


def test_copy_converts_both_ways_and_compresses(capsys):
    assert run(capsys, "ark", "copy", "feats.scp", "ark,t:text.gz")[0] == 0
    assert (
        run(capsys, "ark", "copy", "ark:text.gz", "ark,scp:c.ark,c.scp", "--compression", "two-byte-auto")[0]
        == 0
    )
    for key, value in arks.read_archive("c.scp"):
        np.testing.assert_allclose(value, FEATURES[key], atol=float(np.ptp(FEATURES[key])) / 65535)
    assert run(capsys, "ark", "check", "c.scp")[0] == 0
    status, _, err = run(capsys, "ark", "copy", "feats.scp", "x.ark", "--compression", "zip")
    assert status == 1
    assert "'zip' is unknown" in err
    assert not Path("x.ark").exists()


def test_copy_takes_the_first_entries_and_every_so_many_rows(capsys):
    assert run(capsys, "ark", "copy", "-n", 2, "feats.ark", "first.ark")[0] == 0
    assert [key for key, _ in arks.read_archive("first.ark")] == ["u0", "u1"]
    thin = ["--every", 7, "--offset", 20]  # u0 has no row 20
    assert run(capsys, "ark", "copy", *thin, "feats.ark", "ark,scp:thin.ark,thin.scp")[0] == 0
    found = dict(arks.read_archive("thin.scp"))
    assert list(found) == ["u1", "u2"]
    for key, value in found.items():
        np.testing.assert_array_equal(value, FEATURES[key][[20]])
    assert run(capsys, "ark", "copy", "--every", 9, "feats.ark", "thin.ark", "--compression", "auto")[0] == 0
    for key, value in arks.read_archive("thin.ark"):
        np.testing.assert_allclose(value, FEATURES[key][[0, 9, 18]], atol=1e-3)
    status, _, err = run(capsys, "ark", "copy", "--every", 2, "vectors.ark", "x.ark")
    assert status == 1
    assert err == "spkdistill: error: vectors.ark:a: no matrix, so it has no rows to choose from\n"
    assert not Path("x.ark").exists()


def test_standard_input_and_output_are_archives():
    tool = [sys.executable, "-c", "import sys; from spkdistill.cli import main; sys.exit(main())", "ark"]
    copied = subprocess.run(
        [*tool, "copy", "scp:-", "ark:-"],
        input=Path("feats.scp").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert copied.stdout == Path("feats.ark").read_bytes()
    listed = subprocess.run([*tool, "ls", "-"], input=copied.stdout, capture_output=True, check=True)
    assert listed.stdout == b"u0\tFM\t20x4\nu1\tFM\t21x4\nu2\tFM\t22x4\n"
    piped = subprocess.run([*tool, "ls", "/dev/stdin"], input=copied.stdout, capture_output=True, check=True)
    assert piped.stdout == listed.stdout
    cut = subprocess.run([*tool, "ls", "-"], input=copied.stdout[:-1], capture_output=True, check=False)
    assert cut.returncode == 1
    assert cut.stderr.startswith(b"spkdistill: error: standard input:u2: ")


def shards(folder: Path) -> list[str]:
    Path("1.scp").write_text(Path("feats.scp").read_text().splitlines(keepends=True)[0])
    Path("2.scp").write_text("".join(Path("feats.scp").read_text().splitlines(keepends=True)[1:]))
    Path("expected").write_text("u0 x\nu1 x\nu2 x\nu3 x\n")
    Path("r1.tsv").write_text("utterance\treason\n")
    Path("r2.tsv").write_text("utterance\treason\nu3\ttoo short: 3 frames\n")
    return ["--parts", "1.scp", "2.scp", "--output", "all.scp", "--expected", "expected"]


def test_merge_puts_shards_and_rejections_together(capsys, folder):
    extra = ["--rejected", "r1.tsv", "r2.tsv", "--rejected-output", "rejected.tsv", "--max-rejected", "0.25"]
    manifest = ["--manifest", "manifest.json", "--stage", "features"]
    assert run(capsys, "merge", *shards(folder), *extra, *manifest)[0] == 0
    assert Path("all.scp").read_text() == Path("feats.scp").read_text()
    assert Path("rejected.tsv").read_text() == "utterance\treason\nu3\ttoo short: 3 frames\n"
    contents = json.loads(Path("manifest.json").read_text())["contents"]
    assert contents == {
        "bytes": os.path.getsize("feats.ark"),
        "count": 3,
        "dim": 4,
        "rejected": 1,
        "types": ["FM"],
    }


def test_merge_fails_above_the_share_and_names_the_reasons(capsys, folder):
    status, _, err = run(
        capsys, "merge", *shards(folder), "--rejected", "r1.tsv", "r2.tsv", "--max-rejected", "0.2"
    )
    assert status == 1
    assert err == (
        "spkdistill: error: r2.tsv: 1 of 4 utterances were rejected (25.00%), more than max_rejected 20.00%"
        " allows: u3: too short: 3 frames\n"
    )
    assert not Path("all.scp").exists()


@pytest.mark.parametrize(
    ("spoilt", "text", "problem"),
    [
        ("expected", "u0\nu1\nu2\nu3\nu4\n", "all.scp: 1 keys are missing though not rejected (u4)"),
        ("expected", "u0\nu1\nu3\n", "all.scp: 1 keys are not expected (u2)"),
        ("r1.tsv", "utterance\treason\nu0\tbad\n", "all.scp: 1 keys are present though rejected (u0)"),
        ("1.scp", "u1 x.ark:2\n", "2.scp:1: u1 comes after u1; keys must be sorted and unique"),
        ("2.scp", "u2 x.ark:2\nu1 x.ark:9\n", "2.scp:2: u1 comes after u2; keys must be sorted and unique"),
        ("2.scp", "u1 x.ark:2\nu2\n", "2.scp:2: expected a key and a value"),
        ("r1.tsv", "u9\twhy\n", "r1.tsv:1: expected the header"),
    ],
)
def test_merge_refuses_shards_that_do_not_fit(capsys, folder, spoilt, text, problem):
    arguments = shards(folder)
    Path(spoilt).write_text(text)
    status, _, err = run(capsys, "merge", *arguments, "--rejected", "r1.tsv", "r2.tsv")
    assert status == 1
    assert problem in err
    assert not Path("all.scp").exists()


def test_merge_takes_the_keys_of_a_tsv_from_below_its_header(capsys):
    Path("views.tsv").write_text("view\tframes\nu0-v00\t3\nu1-v00\t4\n")
    Path("1").write_text("u0-v00 3\nu1-v00 4\n")
    assert run(capsys, "merge", "--parts", "1", "--output", "all", "--expected", "views.tsv")[0] == 0
    assert Path("all").read_text() == Path("1").read_text()


def test_check_takes_specifiers(capsys):
    for archive in ("scp:feats.scp", "ark:feats.ark", "ark,s,cs:feats.ark"):
        assert run(capsys, "ark", "check", archive)[0] == 0
    Path("feats.ark").write_bytes(Path("feats.ark").read_bytes()[:-1])
    status, lines, _ = run(capsys, "ark", "check", "scp:feats.scp")
    assert status == 1
    assert "u2" in lines[0]


@pytest.mark.parametrize("target", ["ark,scp:-,x.scp", "ark,scp:x.ark.gz,x.scp"])
def test_an_index_into_a_stream_is_refused(capsys, target):
    status, _, error = run(capsys, "ark", "copy", "feats.scp", target)
    assert status == 1
    assert "an scp needs an ark" in error
    assert not list(Path().glob("x.*"))


def test_a_kaldi_object_is_told_from_an_archive(capsys):
    arks.write_vector("mean.vec", np.ones(3))
    status, _, error = run(capsys, "ark", "ls", "mean.vec")
    assert status == 1
    assert "mean.vec: a single Kaldi object" in error


def test_a_name_that_no_file_can_have_is_one_line(capsys):
    Path("nul.scp").write_text("a no\0such.ark:3\n")
    assert run(capsys, "ark", "ls", "nul.scp")[0] == 1


def test_wave_files_are_compared_and_not_written_as_text(capsys):
    size = 36
    arks.write_archive("wav.ark", [("a", b"RIFF" + size.to_bytes(4, "little") + bytes(size))])
    assert run(capsys, "ark", "diff", "wav.ark", "wav.ark")[0] == 0
    status, lines, _ = run(capsys, "ark", "diff", "wav.ark", "vectors.ark")
    assert status == 1
    assert "a\ta wave file and numbers" in lines
    status, _, error = run(capsys, "ark", "copy", "wav.ark", "ark,t:wav.txt")
    assert status == 1
    assert "wav.txt:a: is a wave file, which a text archive cannot hold" in error


def test_empty_matrices_survive_the_way_through_text(capsys):
    arks.write_archive("empty.ark", [("a", np.empty((0, 0), np.float32))])
    assert run(capsys, "ark", "copy", "empty.ark", "ark,t:empty.txt")[0] == 0
    assert run(capsys, "ark", "diff", "empty.ark", "empty.txt")[0] == 0
