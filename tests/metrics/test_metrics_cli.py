"""`spkdistill metrics` and `spkdistill paired` on files, good and bad."""

import argparse
import json

import numpy as np
import pytest

from spkdistill.cli import metrics as commands
from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv
from spkdistill.metrics.evaluate import PAIRED_COLUMNS

SETTINGS = {"bootstrap_samples": 200, "confidence": 0.95, "p_targets": [0.01, 0.05]}


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


def test_trials_without_a_score_are_counted(folder):
    lines = (folder / "good").read_text().splitlines(keepends=True)
    (folder / "good").write_text("".join(lines[5:]))
    metrics = evaluate(folder)
    assert (metrics["missing"], metrics["trials"]) == (5, 491)


def compare(folder, *pairs) -> list[list[str]]:
    inputs = ["--trials", folder / "trials", "--utt2spk", folder / "utt2spk", "--name", "hard"]
    arguments = [word for a, b in pairs for word in ("--pair", f"a/{a}={folder / a}", f"b/{b}={folder / b}")]
    output = folder / "paired.tsv"
    run("paired", *inputs, *arguments, "--settings", json.dumps(SETTINGS), "--seed", 0, "--output", output)
    return read_tsv(output, PAIRED_COLUMNS)


def test_paired_rows_say_which_system_is_better_and_how_surely(folder):
    first, second, same = compare(folder, ("good", "worse"), ("worse", "good"), ("good", "good"))
    assert first[:3] == ["hard", "a/good", "b/worse"]
    eer, base, difference, low, high, p_value = map(float, first[3:])
    assert eer == evaluate(folder, "good")["eer"]
    assert base == evaluate(folder, "worse")["eer"]
    assert difference == eer - base
    assert low <= difference <= high < 0
    assert p_value < 0.05
    assert np.allclose([float(x) for x in second[5:8]], [-difference, -high, -low])
    assert [float(x) for x in same[5:]] == [0, 0, 0, 1]


def test_paired_systems_are_compared_on_the_trials_that_both_scored(folder, caplog):
    lines = (folder / "worse").read_text().splitlines(keepends=True)
    (folder / "worse").write_text("".join(lines[3:]))
    compare(folder, ("good", "worse"))
    assert "3 trials" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("s0-0 s0-1", "good:497: expected"),
        ("s0-0 s0-1 high", "good:497: expected"),
        ("s0-0 s0-1 nan", "good:497: the score"),
        ("s0-0 s0-1 99", "good:497: .* two different scores"),
        ("s0-1 s0-0 1", "s0-1 s0-0 is no trial"),
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
    "change", [{"bootstrap_samples": 0}, {"confidence": 1.0}, {"p_targets": [0.0]}, {"samples": 3}]
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
