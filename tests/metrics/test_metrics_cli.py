"""`spkdistill metrics` and `spkdistill paired` on files, good and bad."""

import argparse
import json
import os
import re

import numpy as np
import pytest

from spkdistill.cli import metrics as commands
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv
from spkdistill.metrics.evaluate import PAIRED_COLUMNS

SETTINGS = {
    "bootstrap_samples": 200,
    "paired_samples": 200,
    "confidence": 0.95,
    "p_targets": [0.01, 0.05],
    "conditions": [],
    "duration_edges": [],
}


def run(*arguments) -> None:
    """Run a subcommand of this room alone."""
    parser = argparse.ArgumentParser()
    commands.add_commands(parser.add_subparsers(required=True))
    options = parser.parse_args([str(argument) for argument in arguments])
    options.run(options)


@pytest.fixture
def folder(tmp_path):
    """Trials of 8 speakers with 4 utterances each, and scores of a good and of a worse system."""
    rng = np.random.default_rng(0)
    names = [f"s{k}-{u}" for k in range(8) for u in range(4)]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    target = np.array([a[:2] == b[:2] for a, b in pairs])
    (tmp_path / "utt2spk").write_text("".join(f"{name} {name[:2]}\n" for name in names))
    labels = np.where(target, "target", "nontarget")
    (tmp_path / "trials").write_text(
        "".join(f"{a} {b} {t}\n" for (a, b), t in zip(pairs, labels, strict=True))
    )
    for name, noise in (("good", 1.0), ("worse", 2.0)):
        scores = 2 * target + noise * rng.normal(size=len(pairs))
        lines = [f"{a} {b} {score:.9g}\n" for (a, b), score in zip(pairs, scores, strict=True)]
        (tmp_path / name).write_text("".join(lines))
    return tmp_path


def evaluate(folder, name="good", settings=SETTINGS, seed=0) -> dict:
    inputs = ["--scores", folder / name, "--trials", folder / "trials", "--utt2spk", folder / "utt2spk"]
    output = folder / "out.json"
    run("metrics", *inputs, "--settings", json.dumps(settings), "--seed", seed, "--output", output)
    return json.loads(output.read_text())


def test_metrics_hold_the_counts_and_rates_with_their_intervals(folder):
    metrics = evaluate(folder)
    counts = {key: metrics[key] for key in ("trials", "targets", "nontargets", "speakers", "missing")}
    assert counts == {"trials": 496, "targets": 48, "nontargets": 448, "speakers": 8, "missing": 0}
    assert 0 < metrics["eer_low"] <= metrics["eer"] <= metrics["eer_high"] < 0.5
    assert 0 < metrics["eer_hull"] <= metrics["eer"] + 0.02
    assert list(metrics["min_dcf"]) == ["0.01", "0.05"]
    for cost in metrics["min_dcf"].values():
        assert 0 < cost["low"] <= cost["value"] <= cost["high"] <= 1
    assert len(metrics["det"]["p_miss"]) == len(metrics["det"]["p_fa"]) <= 200
    assert (metrics["bootstrap_samples"], metrics["confidence"]) == (200, 0.95)


def test_calibration_is_measured_with_intervals_and_a_histogram(folder):
    metrics = evaluate(folder)
    assert list(metrics["act_dcf"]) == ["0.01", "0.05"]
    for cost in (*metrics["act_dcf"].values(), metrics["cllr"]):
        assert 0 < cost["low"] <= cost["value"] <= cost["high"]
    for prior, cost in metrics["act_dcf"].items():
        assert metrics["min_dcf"][prior]["value"] <= cost["value"]
    assert 0 < metrics["min_cllr"] <= metrics["cllr"]["value"]
    histogram = metrics["histogram"]
    assert len(histogram["edges"]) == len(histogram["targets"]) + 1 == len(histogram["nontargets"]) + 1
    assert (sum(histogram["targets"]), sum(histogram["nontargets"])) == (48, 448)
    assert (metrics["duplicates"], metrics["conditions"]) == (0, {})


def conditional(folder, conditions, *options, edges=(2, 4)) -> dict:
    settings = {**SETTINGS, "conditions": conditions, "duration_edges": list(edges)}
    inputs = ["--scores", folder / "good", "--trials", folder / "trials", "--utt2spk", folder / "utt2spk"]
    inputs += ["--settings", json.dumps(settings), "--seed", 0, "--output", folder / "out.json"]
    run("metrics", *inputs, *options)
    return json.loads((folder / "out.json").read_text())["conditions"]


def test_conditions_split_the_trials_by_sex_duration_and_columns_of_the_list(folder):
    """Speakers s0-s3 are f; utterance u of each lasts 1, 2, 3 or 4 s."""
    (folder / "spk2gender").write_text("".join(f"s{k} {'f' if k < 4 else 'm'}\n" for k in range(8)))
    (folder / "utt2dur").write_text("".join(f"s{k}-{u} {u + 1}\n" for k in range(8) for u in range(4)))
    rows = [line.split() for line in (folder / "trials").read_text().splitlines()]
    lines = [" ".join([*row, "same" if row[0][3] == row[1][3] else "other"]) for row in rows]
    (folder / "trials").write_text("\n".join(["enrol test label place", *lines, ""]))
    found = conditional(
        *(folder, ["sex", "duration", "place"]),
        *("--spk2gender", folder / "spk2gender", "--utt2dur", folder / "utt2dur"),
    )
    assert {value: part["trials"] for value, part in found["sex"].items()} == {"f": 120, "m": 120, "f-m": 256}
    shorter = [min(int(row[0][3]), int(row[1][3])) + 1 for row in rows]
    assert {value: part["trials"] for value, part in found["duration"].items()} == {
        "< 2 s": shorter.count(1),
        "2 - 4 s": shorter.count(2) + shorter.count(3),
        ">= 4 s": shorter.count(4),
    }
    assert found["sex"]["f"]["speakers"] == 4
    rates = found["sex"]["f"]
    assert 0 <= rates["eer_low"] <= rates["eer"] <= rates["eer_high"] < 0.5
    for cost in (rates["min_dcf"]["0.01"], rates["act_dcf"]["0.05"], rates["cllr"]):
        assert cost["low"] <= cost["value"] <= cost["high"]
    for cross in (found["sex"]["f-m"], found["place"]["same"], found["duration"][">= 4 s"]):
        assert (cross["targets"], cross["note"]) == (0, "no target trials")
        counts = {"trials", "targets", "nontargets", "speakers", "duplicates"}
        assert cross.keys() - {"note"} == rates.keys()
        assert {cross[key] for key in rates.keys() - counts} == {None}
    assert sum(part["trials"] for part in found["place"].values()) == len(rows)


def test_rates_of_a_condition_are_those_of_a_list_of_its_trials_alone(folder):
    (folder / "spk2gender").write_text("".join(f"s{k} {'f' if k < 4 else 'm'}\n" for k in range(8)))
    lines = (folder / "good").read_text().splitlines(keepends=True)
    (folder / "good").write_text("".join(lines[3:]))
    part = conditional(folder, ["sex"], "--spk2gender", folder / "spk2gender")["sex"]["f"]
    assert part["trials"] == 117
    for name in ("trials", "good"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text(
            "".join(line for line in lines if line[1] < "4" and line.split()[1][1] < "4")
        )
    alone = evaluate(folder)
    assert alone.keys() - part.keys() == {"missing", "conditions", "bootstrap_samples", "confidence"}
    for key in ("eer", "eer_hull", "threshold_eer", "min_cllr", "det", "histogram", "targets", "duplicates"):
        assert part[key] == alone[key]
    assert part["cllr"]["value"] == alone["cllr"]["value"]
    assert part["min_dcf"]["0.05"]["value"] == alone["min_dcf"]["0.05"]["value"]


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        ("sex", ConfigError, "sex needs --spk2gender"),
        ("duration", ConfigError, "duration needs --utt2dur"),
        ("language", DataError, "no column 'language'; there are sex, duration"),
    ],
)
def test_conditions_without_their_source_are_refused(folder, condition, error, message):
    with pytest.raises(error, match=message):
        conditional(folder, [condition])


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("spk2gender", ["s0 f"], "spk2gender: s1 has no gender"),
        ("spk2gender", [f"s{k} x" for k in range(8)], "spk2gender: s0 has x"),
        ("utt2dur", ["s0-0 2.0"], "utt2dur: s0-1 is missing"),
        ("utt2dur", [f"s{k}-{u} nan" for k in range(8) for u in range(4)], "'nan' of s0-0 is not a number"),
    ],
)
def test_bad_sources_of_conditions_are_refused(folder, name, lines, message):
    (folder / name).write_text("\n".join([*lines, ""]))
    with pytest.raises(DataError, match=message):
        conditional(folder, ["sex" if name == "spk2gender" else "duration"], f"--{name}", folder / name)


def test_the_duration_of_a_trial_is_that_of_its_utterances_where_a_side_is_a_speaker(folder):
    for name in ("trials", "good"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(line.replace("-0 ", " ", 1) for line in lines if line[3] == "0"))
    tests = [line.split()[1] for line in (folder / "trials").read_text().splitlines()]
    (folder / "utt2dur").write_text("".join(f"s{k}-{u} {u + 1}\n" for k in range(8) for u in range(4)))
    found = conditional(folder, ["duration"], "--utt2dur", folder / "utt2dur", edges=[3])["duration"]
    assert found["< 3 s"]["trials"] == sum(test[3] in "01" for test in tests)
    assert found[">= 3 s"]["trials"] == sum(test[3] in "23" for test in tests)


def test_trials_listed_twice_count_twice(folder):
    once = evaluate(folder)
    for name in ("trials", "good"):
        (folder / name).write_text((folder / name).read_text() * 2)
    twice = evaluate(folder)
    assert (twice["duplicates"], twice["trials"]) == (496, 992)
    assert twice["min_dcf"] == once["min_dcf"]


def test_results_depend_on_the_seed_and_not_on_the_order_of_the_lines(folder):
    first = evaluate(folder)
    for name in ("trials", "good"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        np.random.default_rng(1).shuffle(lines)
        (folder / name).write_text("".join(lines))
    assert evaluate(folder) == first
    other = evaluate(folder, seed=1)
    assert other["eer"] == first["eer"]
    assert other["min_dcf"] != first["min_dcf"]


def test_sides_of_a_trial_may_be_speakers_of_utt2spk(folder):
    for name in ("trials", "good"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(line.replace("-0 ", " ", 1) for line in lines if line[3] == "0"))
    assert evaluate(folder)["speakers"] == 8


def test_models_are_of_the_speaker_of_their_utterances(folder):
    whole = evaluate(folder)
    models = [f"m{k}-{u} s{k}-{u} s{k}-{(u + 1) % 4}\n" for k in range(8) for u in range(4)]
    (folder / "models").write_text("".join(models))
    (folder / "utt2dur").write_text("".join(f"s{k}-{u} {u + 1}\n" for k in range(8) for u in range(4)))
    for name in ("trials", "good"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join("m" + line[1:] for line in lines))
    options = ["--enrol-spk2utt", folder / "models", "--utt2dur", folder / "utt2dur"]
    tests = [int(line.split()[1][3]) + 1 for line in (folder / "trials").read_text().splitlines()]
    found = conditional(folder, ["duration"], *options, edges=[3])["duration"]
    assert {value: part["trials"] for value, part in found.items()} == {
        "< 3 s": sum(seconds < 3 for seconds in tests),
        ">= 3 s": sum(seconds >= 3 for seconds in tests),
    }
    metrics = json.loads((folder / "out.json").read_text())
    assert {**metrics, "conditions": {}} == whole
    with pytest.raises(DataError, match=r"m0-0 is not in .*utt2spk; add it"):
        evaluate(folder)


def test_trials_without_a_score_are_counted_and_logged(folder, caplog):
    lines = (folder / "good").read_text().splitlines(keepends=True)
    (folder / "good").write_text("".join(lines[5:]))
    metrics = evaluate(folder)
    assert (metrics["missing"], metrics["trials"]) == (5, 491)
    assert "5 of 496 trials have no score" in caplog.text


def compare(folder, *pairs) -> list[list[str]]:
    inputs = ["--trials", folder / "trials", "--utt2spk", folder / "utt2spk", "--name", "hard"]
    arguments = [word for a, b in pairs for word in ("--pair", f"a/{a}={folder / a}", f"b/{b}={folder / b}")]
    output = folder / "paired.tsv"
    run("paired", *inputs, *arguments, "--settings", json.dumps(SETTINGS), "--seed", 0, "--output", output)
    return read_tsv(output, PAIRED_COLUMNS)


def test_paired_rows_say_which_system_is_better_and_how_surely(folder):
    first, second, same = compare(folder, ("good", "worse"), ("worse", "good"), ("good", "good"))
    assert first[:3] == ["hard", "a/good", "b/worse"]
    eer, base, difference, low, high, p_value, p_holm = map(float, first[3:10])
    assert eer == evaluate(folder, "good")["eer"]
    assert base == evaluate(folder, "worse")["eer"]
    assert difference == eer - base
    assert low <= difference <= high < 0
    assert p_value < 0.05
    assert p_holm == 3 * p_value
    assert np.allclose([float(x) for x in second[5:8]], [-difference, -high, -low])
    assert [float(x) for x in same[5:10]] == [0, 0, 0, 1, 1]


def test_paired_rows_compare_min_dcf_at_the_first_prior_too(folder):
    first, second, same = compare(folder, ("good", "worse"), ("worse", "good"), ("good", "good"))
    cost, base, difference, low, high, p_value, p_holm = map(float, first[10:17])
    assert cost == evaluate(folder, "good")["min_dcf"]["0.01"]["value"]
    assert base == evaluate(folder, "worse")["min_dcf"]["0.01"]["value"]
    assert difference == cost - base
    assert low <= difference <= high < 0
    assert p_value < 0.05
    assert p_holm == 3 * p_value
    assert np.allclose([float(x) for x in second[12:15]], [-difference, -high, -low])
    assert [float(x) for x in same[12:17]] == [0, 0, 0, 1, 1]


def test_both_commands_print_a_line_for_each_result(folder, capsys):
    metrics = evaluate(folder)
    line = capsys.readouterr().out
    assert line.startswith("trials: 496 trials, EER ")
    found = [float(number) for number in re.findall(r"-?\d+\.\d+", line)]
    rates = [100 * metrics[key] for key in ("eer", "eer_low", "eer_high")]
    cost = metrics["min_dcf"]["0.01"]["value"]
    assert found == pytest.approx([*rates, 0.01, cost, metrics["cllr"]["value"]], abs=0.005)
    (row,) = compare(folder, ("good", "worse"))
    line = capsys.readouterr().out
    assert line.startswith("a/good - b/worse: EER -")
    found = [float(number) for number in re.findall(r"-?\d+\.\d+", line)]
    difference, low, high, p_value, p_holm = map(float, row[5:10])
    assert found[:5] == pytest.approx([100 * difference, 100 * low, 100 * high, p_value, p_holm], abs=0.005)
    assert found[6:] == pytest.approx([float(x) for x in row[12:17]], abs=0.0005)
    assert line.count("\n") == 1


EXTREME = {
    "equal and large": lambda target: np.full(len(target), 1e300),
    "of both signs": lambda target: np.where(target, 1e308, -1e308),
    "the wrong way round": lambda target: np.where(target, -1.79769313e308, 1.79769313e308),
    "an ulp apart": lambda target: np.where(target, np.nextafter(1, 2), 1.0),
    "of every size": lambda target: np.geomspace(1e-300, 1e300, len(target)) * np.where(target, 1, -1),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", EXTREME)
def test_scores_of_any_size_have_finite_metrics(folder, kind):
    lines = [line.split() for line in (folder / "trials").read_text().splitlines()]
    scores = EXTREME[kind](np.array([label == "target" for *_, label in lines]))
    written = [f"{a} {b} {score!r}\n" for (a, b, _), score in zip(lines, scores.tolist(), strict=True)]
    (folder / "extreme").write_text("".join(written))
    metrics = evaluate(folder, "extreme")  # the writer refuses NaN and infinity
    assert metrics["cllr"]["low"] <= metrics["cllr"]["value"] <= metrics["cllr"]["high"]
    assert [float(x) for x in compare(folder, ("extreme", "extreme"))[0][5:10]] == [0, 0, 0, 1, 1]


def test_paired_systems_are_compared_on_the_trials_that_both_scored(folder, caplog):
    lines = (folder / "worse").read_text().splitlines(keepends=True)
    (folder / "worse").write_text("".join(lines[3:]))
    compare(folder, ("good", "worse"))
    assert "3 trials" in caplog.text


def test_trials_that_a_third_system_did_not_score_are_left_out_for_all(folder):
    first = compare(folder, ("good", "worse"))[0]
    lines = (folder / "worse").read_text().splitlines(keepends=True)
    (folder / "third").write_text("".join(lines[40:]))
    again = compare(folder, ("good", "worse"), ("good", "third"))[0]
    assert again[3:8] != first[3:8]
    for name in ("good", "worse", "trials"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[40:]))
    assert compare(folder, ("good", "worse"))[0][3:9] == again[3:9]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s0-0 s0-1", "good:497: expected"),
        ("s0-0 s0-1 high", "good:497: expected"),
        ("s0-0 s0-1 nan", "good:497: the score"),
        ("s0-0 s0-1 99", "good:497: .* two different scores"),
        ("s0-1 s0-0 1", "good:497: s0-1 s0-0 is no trial"),
    ],
)
def test_bad_score_files_are_refused_by_line(folder, line, message):
    with (folder / "good").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message) as caught:
        evaluate(folder)
    assert "\n" not in str(caught.value)


def test_trials_of_one_kind_or_of_unknown_speakers_are_refused(folder):
    trials = (folder / "trials").read_text()
    (folder / "trials").write_text(trials.replace("nontarget", "target"))
    with pytest.raises(DataError, match="no scored non-target trial"):
        evaluate(folder)
    (folder / "trials").write_text(trials + "s0-0 who nontarget\n")
    with pytest.raises(DataError, match="who is not in"):
        evaluate(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"bootstrap_samples": 0},
        {"paired_samples": 0},
        {"confidence": 1.0},
        {"p_targets": [0.0]},
        {"p_targets": []},
        {"p_targets": [0.05, 0.05]},
        {"p_targets": [0.01, 0.0500000001, 0.05]},
        {"samples": 3},
        {"duration_edges": [4, 2]},
    ],
)
def test_settings_out_of_range_are_refused(folder, change):
    with pytest.raises(ConfigError):
        evaluate(folder, settings={**SETTINGS, **change})


def test_an_empty_score_file_is_named(folder, tmp_path):
    (folder / "none").write_text("")
    with pytest.raises(DataError, match=r"none: metrics: there is no scored target trial"):
        run(
            *("metrics", "--scores", folder / "none", "--trials", folder / "trials"),
            *("--utt2spk", folder / "utt2spk", "--settings", json.dumps(SETTINGS), "--seed", 0),
            *("--output", tmp_path / "metrics.json"),
        )


@pytest.mark.parametrize("option", ["trials", "scores"])
def test_a_list_that_is_a_pipe_is_refused_as_one(folder, option):
    """`--trials <(...)`: nothing is left of it to read again."""
    reading, writing = os.pipe()
    os.write(writing, (folder / {"trials": "trials", "scores": "good"}[option]).read_bytes())
    os.close(writing)
    paths = {"scores": folder / "good", "trials": folder / "trials", "utt2spk": folder / "utt2spk"}
    paths[option] = f"/dev/fd/{reading}"
    inputs = [word for name, path in paths.items() for word in (f"--{name}", path)]
    with pytest.raises(
        DataError, match=rf"^/dev/fd/{reading}: not a regular file; write it to a file first$"
    ):
        run("metrics", *inputs, "--settings", json.dumps(SETTINGS), "--seed", 0, "--output", folder / "o")
    os.close(reading)


@pytest.mark.parametrize(
    "data",
    [
        *(b"utt1 \0BFV \x04\x03\0\0\0\x00\x00\x80\x3f", b"utt1 \0BFV \x04\x03\0\0\0" + bytes(5000)),
        *(b"x" * 5000, b"a b target 1 2 3 4\n", b"a b 1 2 3 4 5\n" * 3),
    ],
)
def test_files_that_are_no_lists_are_refused_in_one_short_line(folder, data, recwarn):
    for name in ("trials", "good"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(data)
        with pytest.raises(DataError, match=rf"{name}:(1: expected| not UTF-8 text)") as caught:
            evaluate(folder)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < len(str(folder)) + 600
        (folder / name).write_bytes(before)
    assert not recwarn.list
