"""Students of several seeds in the report, experiments in its settings, and the tables of runs."""

from statistics import fmean, stdev

import pytest
from test_report import STUDENTS, TEACHER_PARAMETERS, TEACHER_WITH_HEAD, Run, Tables, write_tsv

from spkdistill.errors import ConfigError, DataError
from spkdistill.files import read_tsv
from spkdistill.report import tables
from spkdistill.report.runs import COLUMNS, write_runs
from spkdistill.report.sentences import test_sentences as told_tests
from spkdistill.report.sentences import trials_sentences


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def with_seeds(run) -> list[float]:
    """Make fc8-narrow the second seed of fc8-xvector, whose paired tests are of both; their EERs by PLDA."""
    models = run.settings["models"]
    models["fc8-narrow"]["group"] = "fc8-xvector"
    rows = [line.split("\t") for line in run.paired[0].read_text().splitlines()]
    eers = [run.eer(name, "plda", "trials") for name in ("fc8-xvector", "fc8-narrow")]
    kept = [row for row in rows[1:] if not row[1].startswith("fc8-narrow/")]
    for row in kept:
        if row[1] == "fc8-xvector/plda" and row[0] == "trials":
            row[3] = fmean(eers)
    write_tsv(run.paired[0], rows[0], kept)
    return eers


def test_seeds_of_a_model_are_shown_together_and_tested_together(run):
    eers = with_seeds(run)
    report = run.read()
    means = Tables(tables.seeds_table(report, "trials")).rows
    mean, low, high = (f"{100 * eer:.2f}" for eer in (fmean(eers), min(eers), max(eers)))
    shown = ["fc8-xvector", "plda", "2", mean, f"{low} – {high}", f"{100 * stdev(eers):.2f}"]
    assert means[1:] == [shown]
    tests = [row for row in Tables(tables.comparisons(report)).rows if row]
    assert {row[3] for row in tests if row[:3] == ["fc8-xvector", "plda", mean]} == {"fc8-none", "xvector"}
    assert not [row for row in tests if row[0] == "fc8-narrow"]


def test_the_test_of_a_models_group_is_told_for_any_of_its_seeds(run):
    with_seeds(run)
    report = run.read()
    told = [
        sentence for name in ("fc8-xvector", "fc8-narrow") for sentence in told_tests(report, name, "trials")
    ]
    assert len(told) == 4
    assert all(sentence.startswith("fc8-xvector (mean over its seeds) against ") for sentence in told)
    assert told[:2] == told[2:]
    distilled = sum(model["baseline"] is not None for model in run.settings["models"].values())
    assert any(
        f"All {distilled - 1} distilled students" in line for line in trials_sentences(report, "trials")
    )


def test_the_best_student_is_the_best_on_average_over_its_seeds(run):
    with_seeds(run)
    report = run.read()
    students = [group for group in report.groups if report.settings.models[group].role == "student"]
    means = {}
    for group in students:
        systems = [
            [(name, backend) for name in report.members(group)] for backend in run.settings["backends"]
        ]
        means[group] = min(
            fmean(run.eer(*system, "trials") for system in systems_of) for systems_of in systems
        )
    ranked = [report.settings.models[name].group for name in report.ranked("trials", "student")]
    assert list(dict.fromkeys(ranked)) == sorted(means, key=means.get)
    best = min(means, key=means.get)
    (told,) = [line for line in trials_sentences(report, "trials") if line.startswith("Best student, ")]
    assert told.startswith(f"Best student, {best} (")
    assert f"{100 * means[best]:.2f} %" in told
    assert ("mean EER" in told) == (len(report.members(best)) > 1)


def member(model, seed, objective, targets, mean_norm, vary) -> dict:
    """A student of an experiment, as the config gives it to the report."""
    made = {
        "model": model,
        "group": model,
        "student": "fc8",
        "teacher": "xvector",
        "method": model,
        "seed": seed,
    }
    return made | {
        "objective": objective,
        "targets": targets,
        "mean_norm": mean_norm,
        "targets_of": "utterance" if targets else None,
        "form": "heads" if targets else None,
        "options": {"weight": 2, "mass": "absolute"} if targets else {},
        "vary": vary,
    }


def test_a_table_of_runs_has_a_row_for_each_system_of_its_models(run):
    members = [
        member("fc8-wide", 0, "multilevel", ["wide_bn", "xvector"], False, {"layers": 8, "kernels": [3, 1]}),
        member("fc8-none", 4, "none", [], None, {}),
    ]
    names = ["xvector", "fc8-wide", "fc8-none"]
    settings = {
        "students": members,
        "teachers": ["xvector"],
        "backends": ["plda"],
        "trials": ["trials", "hard"],
        "p_targets": [0.01, 0.001, 0.05],
    }
    systems = [f"{name}/plda/{trials}" for name in names for trials in ("trials", "hard")]
    metrics = {system: run.metrics[system] for system in systems}
    write_runs(settings, metrics, {name: run.models[name] for name in names}, run.folder / "runs.tsv")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in read_tsv(run.folder / "runs.tsv", COLUMNS)]
    assert [f"{row['model']}/{row['backend']}/{row['trials']}" for row in rows] == systems
    teacher, wide, none = rows[0], rows[2], rows[4]
    assert (teacher["teacher"], teacher["student"], teacher["reduction"]) == ("xvector", "", "")
    assert (wide["targets"], wide["mean_norm"], wide["vary"]) == (
        "wide_bn+xvector",
        "false",
        "layers=8 kernels=[3, 1]",
    )
    assert (none["targets"], none["mean_norm"], none["seed"], none["vary"]) == ("", "", "4", "")
    assert (wide["targets_of"], wide["form"]) == ("utterance", "heads")
    assert (none["targets_of"], none["form"], none["bytes"]) == ("", "", str(4 * int(none["parameters"])))
    small = STUDENTS["fc8-wide"][3]
    assert float(wide["reduction"]) == pytest.approx(1 - small / TEACHER_PARAMETERS, abs=1e-6)
    assert float(wide["reduction_with_head"]) == pytest.approx(1 - small / TEACHER_WITH_HEAD, abs=1e-6)
    assert float(wide["eer"]) == pytest.approx(run.eer("fc8-wide", "plda", "trials"), abs=1e-6)
    assert float(wide["min_dcf"]) == pytest.approx(11 * float(wide["eer"]), abs=1e-5)
    with pytest.raises(
        DataError, match=r"xvector\.plda\.trials\.json: no min_dcf at the prior 0\.2; make it"
    ):
        write_runs(
            settings | {"p_targets": [0.2]},
            metrics,
            {name: run.models[name] for name in names},
            run.folder / "runs.tsv",
        )
    with pytest.raises(DataError, match="--metrics: nothing given for fc8-none/plda/hard"):
        write_runs(settings, dict(list(metrics.items())[:-1]), run.models, run.folder / "runs.tsv")


def test_an_experiment_of_unknown_models_is_refused(run):
    settings = {"students": [member("gone", 0, "none", [], None, {})], "backend": "plda", "reference": None}
    run.settings["experiments"] = {"depth": settings}
    with pytest.raises(ConfigError, match=r"report\.experiments\.depth: 'gone' is not a model of this run"):
        run.read()
