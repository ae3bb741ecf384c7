"""The report tells what its inputs say: numbers, names, significance, in bytes that do not change."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.stats import norm

from spkdistill.cli import by_name, named_path
from spkdistill.errors import ConfigError, DataError
from spkdistill.metrics.evaluate import PAIRED_COLUMNS
from spkdistill.report import tables
from spkdistill.report.backends import backends
from spkdistill.report.calibration import calibration
from spkdistill.report.conditions import conditions
from spkdistill.report.contents import BackendSettings
from spkdistill.report.histograms import bayes_lines, draw_scores
from spkdistill.report.inputs import read_report
from spkdistill.report.numbers import count, probability
from spkdistill.report.page import write_page
from spkdistill.report.plots import PLAIN, det_plots, size_scatter, spread
from spkdistill.report.sentences import trials_sentences
from spkdistill.report.summary import terminal_summary, write_summary

STUDENTS = {  # name: objective, targets, baseline, parameters, EER
    "fc8-none": ("none", [], None, 468_480, 0.0395),
    "fc8-xvector": ("multilevel", ["xvector"], "fc8-none", 731_136, 0.0342),
    "fc8-narrow": ("multilevel", ["narrow_bn"], "fc8-none", 731_136, 0.0331),
    "fc8-wide": ("multilevel", ["wide_bn"], "fc8-none", 1_237_980, 0.0287),
    "fc8-all": ("multilevel", ["xvector", "narrow_bn", "wide_bn"], "fc8-none", 2_025_948, 0.0284),
    "tdnn-none": ("none", [], None, 612_864, 0.0410),
    "tdnn-kd": ("kd", ["logits"], "tdnn-none", 612_864, 0.0365),
    "tdnn-dkd": ("dkd", ["logits"], "tdnn-none", 612_864, 0.0338),
    "tdnn-trkd": ("trkd", ["logits"], "tdnn-none", 612_864, 0.0339),
}
TEACHER_PARAMETERS, TEACHER_WITH_HEAD, TEACHER_EER = 4_219_868, 8_239_223, 0.0280
PRIORS = {0.05: 9, 0.001: 14, 0.01: 11}  # of minDCF, times the EER; a metrics file has them sorted as text
BACKENDS = ("cosine", "plda", "calibrated")
COUNTS = {
    "trials": 6000,
    "targets": 3000,
    "nontargets": 3000,
    "speakers": 30,
    "missing": 0,
    "duplicates": 0,
    "bootstrap_samples": 1000,
}


def write_json(path: Path, value) -> None:
    """JSON without the sync to disk that makes the package's writer slow here."""
    path.write_text(json.dumps(value))


def write_tsv(path: Path, columns, rows) -> None:
    """A table, likewise."""
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in [columns, *rows]))


class Run:
    """A run's files in a folder, as the stages before the report write them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        models = {"xvector": model("teacher", "xvector", None, [], None, "xvector", None)}
        for name, (objective, targets, baseline, _, _) in STUDENTS.items():
            teacher = None if objective == "none" else "xvector"
            arch = name.partition("-")[0]
            models[name] = model("student", arch, objective, targets, teacher, name, baseline)
        self.settings = {
            "run": "demo",
            "target": "report",
            "models": models,
            "backends": {
                "cosine": backend("cosine"),
                "plda": backend("plda"),
                "calibrated": backend("fusion", systems=["plda"], calibrated_on="dev"),
            },
            "trials": ["trials", "hard"],
            "p_targets": list(PRIORS),
            "experiments": {},
        }
        self.metrics, self.models, self.logs = {}, {}, {}
        self.paired = [folder / "paired.tsv"]
        for name in models:
            self.write_model(name)
            for backend_name in BACKENDS:
                for trials in ("trials", "hard"):
                    self.write_metrics(name, backend_name, trials)
        self.write_paired()
        self.write_logs()
        self.rejected = {"extract/train": folder / "rejected.tsv", "extract/eval": folder / "empty.tsv"}
        reasons = [["spk03-utt07", "0.31 s of speech after VAD"], ["spk11-utt02", "NaN in the samples"]]
        write_tsv(self.rejected["extract/train"], ["utterance", "reason"], reasons)
        write_tsv(self.rejected["extract/eval"], ["utterance", "reason"], [])
        self.manifests = {"views/train": folder / "manifest.json"}
        manifest = {"stage": "views", "contents": {"views": 2872, "frames": 200}, "settings": {}}
        write_json(
            self.manifests["views/train"], {**manifest, "made_by": {"spkdistill": "0.1.0", "numpy": "2.4"}}
        )
        self.analyses, self.references = {}, {}

    def eer(self, name: str, backend: str, trials: str) -> float:
        """The EER that this run gives a system."""
        eer = TEACHER_EER if name == "xvector" else STUDENTS[name][4]
        return round(eer * (1.13 if backend == "cosine" else 1.0) * (1.0 if trials == "trials" else 1.31), 5)

    def write_model(self, name: str) -> None:
        """A config.json with its cost."""
        self.models[name] = self.folder / f"{name}.json"
        parameters = TEACHER_PARAMETERS if name == "xvector" else STUDENTS[name][3]
        with_head = TEACHER_WITH_HEAD if name == "xvector" else parameters + 512 * 7323
        cost = {"parameters": parameters, "parameters_with_head": with_head, "embedding_dim": 512}
        cost |= {"bytes": 4 * parameters, "macs_per_second": parameters * 91}
        write_json(self.models[name], {"cost": cost, "features": "mfcc"})

    def write_metrics(self, name: str, backend: str, trials: str) -> None:
        """Metrics of two Gaussians of unit variance, whose EER, DET curve and histogram have closed forms."""
        eer = self.eer(name, backend, trials)
        separation = -2 * norm.ppf(eer)
        edges = np.linspace(-4, separation + 4, 60)
        metrics = {
            **COUNTS,
            "eer": eer,
            "eer_low": eer * 0.9,
            "eer_high": eer * 1.12,
            "eer_hull": eer * 0.99,
            "threshold_eer": separation / 2,
            "confidence": 0.95,
            "min_dcf": costs(eer),
            "act_dcf": costs(eer, 2),
            "cllr": {"value": 4 * eer, "low": 3.5 * eer, "high": 4.5 * eer},
            "min_cllr": 3.4 * eer,
            "det": {"p_miss": norm.cdf(edges - separation).tolist(), "p_fa": norm.sf(edges).tolist()},
            "histogram": {
                "edges": edges.tolist(),
                "targets": np.diff(3000 * norm.cdf(edges - separation)).round().tolist(),
                "nontargets": np.diff(3000 * norm.cdf(edges)).round().tolist(),
            },
            "conditions": {
                "sex": {
                    "female": condition(1200, 800, eer * 0.8),
                    "male": condition(1800, 900, eer * 1.1),
                    "mixed": condition(0, 1300, None, "no target trials"),
                },
                "seconds": {
                    "10-20": condition(900, 800, eer * 0.7),
                    "<2": condition(1000, 1200, eer * 1.3),
                    "2-10": condition(1100, 1000, eer),
                },
            },
        }
        path = self.folder / f"{name}.{backend}.{trials}.json"
        write_json(path, metrics)
        self.metrics[f"{name}/{backend}/{trials}"] = path

    def write_paired(self, p_holm: float = 0.31) -> None:
        """Tests of each student against the teacher (with this adjusted p) and its baseline (0.02)."""
        rows = []
        for trials in ("trials", "hard"):
            for backend in BACKENDS:
                for name, student in STUDENTS.items():
                    for other in filter(None, ("xvector", student[2])):
                        a, b = self.eer(name, backend, trials), self.eer(other, backend, trials)
                        adjusted = p_holm if other == "xvector" else 0.02
                        system, baseline = f"{name}/{backend}", f"{other}/{backend}"
                        ends = [a - b - 0.004, a - b + 0.005]
                        costs = [9 * a, 9 * b, 9 * (a - b), *ends, 0.003, 0.4, 1 - a / b, 0, 0.5]
                        rows.append([trials, system, baseline, a, b, a - b, *ends, 0.002, adjusted, *costs])
        write_tsv(self.paired[0], PAIRED_COLUMNS, rows)

    def write_logs(self) -> None:
        """Logs of falling losses; triage's has its curriculum."""
        for name in self.settings["models"]:
            self.logs[name] = self.folder / f"{name}.log.tsv"
            columns = ["epoch", "learning_rate", "loss", "classification", "accuracy"]
            masses = ["p_target", "p_confusion", "p_background"]
            columns += ["tmkd", "cfkd", "tau", "confusion_size", *masses] if name.endswith("trkd") else []
            rows = []
            for epoch in range(1, 21):
                row = [epoch, 0.1 * 0.8**epoch, 5 * 0.9**epoch + 0.4, 4 * 0.88**epoch, 1 - 0.8**epoch]
                triage = [0.7 * 0.9**epoch, 0.5 * 0.8**epoch, 0.05 + 0.95 * 0.7**epoch, 3 + 57 * 0.7**epoch]
                triage += [0.3, 0.05 + 0.65 * 0.7**epoch, 0.65 - 0.65 * 0.7**epoch]
                rows.append([*row, *triage][: len(columns)])
            write_tsv(self.logs[name], columns, rows)

    def read(self):
        """The report's inputs, read."""
        paths = (self.metrics, self.models, self.logs, self.paired, self.references)
        paths += (self.rejected, self.manifests, self.analyses)
        return read_report(self.settings, *paths)

    def page(self, name: str = "index.html") -> str:
        """The page's text."""
        write_page(self.read(), self.folder / name)
        return (self.folder / name).read_text()


def model(role, arch, objective, targets, teacher, group, baseline):
    """The settings of one model."""
    keys = ("role", "arch", "objective", "targets", "teacher", "group", "baseline")
    how = {"targets_of": "utterance", "form": "heads"} if targets else {"targets_of": None, "form": None}
    return how | dict(zip(keys, (role, arch, objective, targets, teacher, group, baseline), strict=True))


def backend(kind, norm=None, systems=(), calibrated_on=None, adapted_to=None):
    """The settings of one back-end."""
    keys = ("kind", "norm", "systems", "calibrated_on", "adapted_to")
    return dict(zip(keys, (kind, norm, list(systems), calibrated_on, adapted_to), strict=True))


def condition(targets, nontargets, eer, note=None):
    """One value of a condition in a metrics file."""
    counts = {"trials": targets + nontargets, "targets": targets, "nontargets": nontargets, "speakers": 12}
    if note:
        rates = ("eer", "eer_low", "eer_high", "min_dcf", "min_cllr")
        return {**counts, **dict.fromkeys(rates), "note": note}
    rates = {"eer": eer, "eer_low": 0.8 * eer, "eer_high": 1.2 * eer, "min_cllr": 3.4 * eer}
    return {**counts, **rates, "min_dcf": costs(eer)}


def costs(eer, over=0):
    """DCF at each prior, `over` times the EER above the least."""
    return {
        f"{p:g}": {"value": (times + over) * eer, "low": (times - 1) * eer, "high": (times + 3) * eer}
        for p, times in sorted(PRIORS.items())
    }


@pytest.fixture
def run(tmp_path) -> Run:
    """A teacher and nine students, three back-ends, two trial lists."""
    return Run(tmp_path)


class Tables(HTMLParser):
    """The rows of a page's tables, as text, and the names of its elements; refuses elements out of order."""

    EMPTY = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.names, self.rows, self.text = [], set(), [], ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"script", "style"}.isdisjoint(self.open):
            self.text += data
        if "td" in self.open:
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of the run, made once."""
    return Run(tmp_path_factory.mktemp("run")).page()


def test_page_is_well_formed_and_asks_nothing_of_the_network(page):
    assert {"svg", "table", "details"} <= Tables(page).names
    assert not re.search(r"""(src|href)="(?!#)""", page)  # links stay inside the page; so do SVG's uses
    assert "url(http" not in page
    assert "@import" not in page


def test_same_inputs_give_the_same_bytes(run, page):
    assert run.page() == page


def test_names_from_files_are_text_never_markup(run):
    hostile = "<img src=x onerror=alert(1)>&\"'$x_{1}$"
    run.settings["run"] = hostile
    run.settings["models"]["fc8-all"]["arch"] = hostile
    run.settings["models"]["fc8-all"]["objective"] = hostile
    for paths in (run.logs, run.rejected, run.manifests):
        paths[hostile] = next(iter(paths.values()))
    write_tsv(run.rejected["extract/eval"], ["utterance", "reason"], [["<script>", "</script><b>bad</b>"]])
    name = "</title></svg><b>&amp;"
    move_model(run, "fc8-all", name)
    page = run.page()
    found = Tables(page)
    assert not {"img", "b"} & found.names
    assert page.count("<script>") == 1
    for text in (hostile, name, "</script><b>bad</b>"):
        assert text in found.text
    assert hostile in "".join(re.findall(r"<text[^>]*>.*?</text>", page)).replace("&lt;", "<").replace(
        "&gt;", ">"
    ).replace("&amp;", "&")  # as typed in the figures too: "$" is no mathematics


def move_model(run, old, new):
    """Give a model of the run another name, in the settings and the inputs."""
    run.settings["models"] = {new if name == old else name: of for name, of in run.settings["models"].items()}
    run.settings["models"][new]["group"] = new
    run.models[new] = run.models.pop(old)
    run.metrics = {name.replace(f"{old}/", f"{new}/"): path for name, path in run.metrics.items()}
    run.paired[0].write_text(run.paired[0].read_text().replace(f"{old}/", f"{new}/"))


def test_results_table_shows_the_numbers_of_the_metrics_files(run, page):
    rows = Tables(page).rows
    for name in run.settings["models"]:
        for backend in BACKENDS:
            for trials in ("trials", "hard"):
                eer = run.eer(name, backend, trials)
                costs = [f"{times * eer:.3f}" for times in PRIORS.values()]
                ends = f"{100 * (eer * 0.9):.2f} – {100 * (eer * 1.12):.2f}"
                numbers = [f"{100 * eer:.2f}", ends, "", *costs]
                assert any([row[0], *row[2:9]] == [name, backend, *numbers] for row in rows)


def test_summary_holds_every_system_with_exact_rates_and_published_reductions(run, tmp_path):
    write_summary(run.read(), tmp_path / "summary.tsv")
    header, *rows = [line.split("\t") for line in (tmp_path / "summary.tsv").read_text().splitlines()]
    rows = [dict(zip(header, row, strict=True)) for row in rows]
    assert len(rows) == 10 * 3 * 2
    for row in rows:
        eer = run.eer(row["model"], row["backend"], row["trials"])
        assert float(row["eer"]) == pytest.approx(eer, abs=5e-7)
        measured = {"min_dcf_0.05": 9, "min_dcf_0.001": 14, "act_dcf_0.001": 16, "cllr": 4, "min_cllr": 3.4}
        for column, factor in measured.items():
            assert float(row[column]) == pytest.approx(factor * eer, abs=1e-6)
        assert (row["reduction_with_head"] == "") == (row["role"] == "teacher")
    saved = {row["model"]: f"{100 * float(row['reduction_with_head'] or 0):.1f}" for row in rows}
    # arXiv 2303.01125: embeddings of 512, 1500 and 3036 against the x-vector network with its softmax layer
    assert [saved[name] for name in ("fc8-xvector", "fc8-wide", "fc8-all")] == ["91.1", "85.0", "75.4"]


@pytest.mark.parametrize(
    ("p_holm", "told"), [(0.31, "no significant difference"), (0.05, "no significant difference")]
)
def test_a_difference_that_may_be_chance_among_so_many_is_not_called_one(run, p_holm, told):
    run.write_paired(p_holm)  # each of them would be one if it were alone: p = 0.002
    against = [line for line in opening(run) if line.startswith("fc8-all against its teacher")]
    assert len(against) == 2
    assert all(told in line and "significantly" not in line for line in against)


def test_a_difference_below_the_level_is_called_by_its_direction(run):
    run.write_paired(0.049)
    lines = opening(run)
    assert any(
        line.startswith("fc8-all against its teacher") and "significantly higher EER" in line
        for line in lines
    )
    assert any(
        "fc8-all against the same student" in line and "significantly lower EER" in line for line in lines
    )


def test_a_test_that_was_not_made_is_said_to_be_missing(run):
    write_tsv(run.paired[0], PAIRED_COLUMNS, [])
    assert "fc8-all was not tested against its teacher, xvector." in opening(run)
    assert tables.comparisons(run.read()) is None


def opening(run) -> list[str]:
    """The sentences at the top of the page."""
    report = run.read()
    return [sentence for trials in run.settings["trials"] for sentence in trials_sentences(report, trials)]


def test_best_student_is_that_of_the_lowest_eer_with_its_back_end(run):
    path = run.metrics["tdnn-none/cosine/hard"]
    write_json(path, json.loads(path.read_text()) | {"eer": 0.001, "eer_low": 0.0, "eer_high": 0.002})
    best = [line for line in opening(run) if line.startswith("Best student")]
    assert best[0].startswith(
        "Best student, fc8-all (2.03 M parameters, 52.0 % smaller than the teacher, 75.4 %"
    )
    assert best[1].startswith("Best student, tdnn-none")
    assert best[1].endswith("EER 0.10 % (0.00 to 0.20) with cosine.")


def rows_of(markup: str) -> list[list[str]]:
    """The cells of the tables of a part of the page, headings left out."""
    return [row for row in Tables(markup).rows if any(row)]


def test_calibration_shows_cllr_and_actual_cost_of_log_likelihood_ratios_only(run):
    run.settings["backends"]["plda"]["norm"] = (
        "AS-norm, top 300"  # the best back-end; of equal ones the first
    )
    rows = [row for row in rows_of(calibration(run.read())) if row[0] == "fc8-wide"]
    eer = run.eer("fc8-wide", "plda", "trials")
    hull = f"{99 * eer:.2f}"
    least, cost = ([f"{(times + over) * eer:.3f}" for times in PRIORS.values()] for over in (0, 2))
    lowest = f"{3.4 * eer:.3f}"
    ends = f"{3.5 * eer:.3f} – {4.5 * eer:.3f}"
    loss = f"{0.6 * eer:.3f}"
    assert rows[0] == [
        "fc8-wide",
        "plda",
        *[text for each in least for text in (each, "–")],
        "–",
        "–",
        lowest,
        "–",
        hull,
    ]
    assert rows[1] == [
        *("fc8-wide", "calibrated", *[text for each in zip(least, cost, strict=True) for text in each]),
        *(f"{4 * eer:.3f}", ends, lowest, loss, hull),
    ]
    assert len(rows) == 2 * 2


@pytest.mark.parametrize(
    ("kind", "norm", "expected"),
    [
        *(("cosine", None, False), ("cosine", "AS-norm, top 300", False)),
        *(("plda", None, True), ("plda", "AS-norm, top 300", False), ("fusion", None, True)),
    ],
)
def test_scores_that_are_log_likelihood_ratios(kind, norm, expected):
    assert BackendSettings(kind, norm, (), None, None).gives_llrs == expected


def test_conditions_show_their_rates_and_why_there_is_none(run):
    page = conditions(run.read())
    eer = run.eer("fc8-wide", "plda", "hard")

    def shown(factor, low, high):
        value = factor * eer
        ends = f"[{100 * low * value:.2f}, {100 * high * value:.2f}]"
        return f"{100 * value:.2f} {ends}{9 * value:.3f}, {3.4 * value:.3f}"  # a line each

    rows = [row for row in rows_of(page) if row[0] == "fc8-wide"]
    everything = shown(1, 0.9, 1.12)
    durations = [shown(factor, 0.8, 1.2) for factor in (1.3, 1.0, 0.7)]  # "<2" goes before "10-20"
    assert rows[2] == ["fc8-wide", "plda", everything, *durations]
    sexes = [shown(factor, 0.8, 1.2) for factor in (0.8, 1.1)]
    assert rows[3] == ["fc8-wide", "plda", everything, *sexes, "no target trials"]
    assert page.index("1,000 + 1,200") < page.index("1,100 + 1,000") < page.index("900 + 800")
    assert "minDCF at a target prior of 0.05 and min Cllr" in page
    assert "nan" not in page.lower()


def test_a_value_that_a_system_has_no_scores_for_has_no_eer(run):
    damage(run.metrics["fc8-all/plda/trials"], lambda data: data["conditions"]["sex"].pop("male"))
    rows = [row for row in rows_of(conditions(run.read())) if row[0] == "fc8-all"]
    assert rows[1][4] == "no trials"


def test_a_run_without_conditions_has_no_such_section(run):
    for path in run.metrics.values():
        damage(path, lambda data: data.update(conditions={}))
    assert conditions(run.read()) is None


def test_back_ends_are_described_and_compared_by_their_mean_eer(run):
    run.settings["backends"]["plda"] |= {"norm": "AS-norm, top 300", "adapted_to": "dev"}
    damage(
        run.metrics["fc8-all/cosine/hard"], lambda data: data.update(eer=0.001, eer_low=0.0, eer_high=0.002)
    )
    described, compared = rows_of(backends(run.read()))[:3], rows_of(backends(run.read()))[3:]
    assert described == [
        ["cosine", "cosine", "none", "", "training set", "no log-likelihood ratios"],
        ["plda", "PLDA", "AS-norm, top 300", "", "training set, adapted to dev", "no log-likelihood ratios"],
        ["calibrated", "logistic calibration", "none", "plda", "trial list dev", "log-likelihood ratios"],
    ]
    sums = {
        (name, trials): sum(run.eer(model, name, trials) for model in run.settings["models"])
        for name in BACKENDS
        for trials in ("trials", "hard")
    }
    sums["cosine", "hard"] += 0.001 - run.eer("fc8-all", "cosine", "hard")
    text = {key: f"{100 * total / 10:.2f}" for key, total in sums.items()}
    assert compared == [
        ["cosine", text["cosine", "trials"], "0 of 10", text["cosine", "hard"], "1 of 10"],
        ["plda", text["plda", "trials"], "10 of 10", text["plda", "hard"], "9 of 10"],
        ["calibrated", text["calibrated", "trials"], "0 of 10", text["calibrated", "hard"], "0 of 10"],
    ]


@pytest.mark.parametrize(("normalised", "priors"), [(None, [0.001, 0.01, 0.05]), ("AS-norm, top 300", [])])
def test_histograms_are_densities_with_the_thresholds_that_mean_something(run, normalised, priors):
    run.settings["backends"]["plda"]["norm"] = normalised
    axes = Figure().subplots()
    draw_scores(axes, run.read(), "trials", "fc8-all", bayes_lines(["0.001", "0.01", "0.05"]))
    drawn = [patch.get_data() for patch in axes.patches]
    assert len(drawn) == 4  # each class filled and outlined
    for density, edges, _ in drawn:
        assert np.sum(density * np.diff(edges)) == pytest.approx(1)
    separation = -2 * norm.ppf(run.eer("fc8-all", "plda", "trials"))
    lines = [line.get_xdata()[0] for line in axes.lines]
    assert lines == pytest.approx([separation / 2, *(np.log((1 - p) / p) for p in priors)])


def test_the_table_of_results_shows_the_best_back_ends_before_all(run):
    rows = rows_of(tables.results(run.read()))
    assert [row[2] for row in rows[:10]] == ["plda"] * 10
    assert len(rows) == 2 * (10 + 30)


def test_paired_table_shows_both_p_values_and_first_the_best_back_ends(run):
    page = tables.comparisons(run.read())
    rows = rows_of(page)
    against_itself, others, against_teacher = rows[:7], rows[7:21], rows[21:30]
    assert {(row[1], *row[8:]) for row in against_itself} == {
        ("plda", "0.002", "0.02", "significantly lower EER")
    }
    assert {row[1] for row in others} == {"cosine", "calibrated"}
    assert {(row[1], *row[8:]) for row in against_teacher} == {
        ("plda", "0.002", "0.31", "no significant difference")
    }
    assert page.count("verdict faint") == page.count(f'fill="{PLAIN}"') == 2 * 3 * 9  # against the teacher


def test_every_rejected_entry_is_listed_or_counted(run):
    rows = [[f"utt{index:04d}", "truncated"] for index in range(1203)]
    write_tsv(run.rejected["extract/train"], ["utterance", "reason"], rows)
    told = tables.data(run.read())
    assert "truncated (1,203)" in told
    assert "utt0199" in told
    assert "and 1,003 more in its rejected.tsv" in told


def test_log_columns_are_drawn_by_kind(page):
    assert re.search("By epoch: tau, confusion_size[^<]* of [^<]*tdnn-trkd", page)
    assert "By epoch: loss, classification, tmkd, cfkd" in page
    assert "learning_rate" not in "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))


def test_the_table_of_models_says_how_targets_are_learnt_and_the_size_of_the_file(run):
    shown = str(tables.models(run.read()))
    targets, size = STUDENTS["fc8-wide"][1], count(4 * STUDENTS["fc8-wide"][3])
    assert f"<td>{' + '.join(targets)}, a head each, of the utterance</td>" in shown
    assert f">{size}</td>" in shown


def test_a_run_of_one_model_without_tests_or_logs_has_a_report(run, tmp_path):
    run.settings |= {"models": {"fc8-none": run.settings["models"]["fc8-none"]}}
    run.settings |= {"backends": {"plda": run.settings["backends"]["plda"]}}
    run.models = {"fc8-none": run.models["fc8-none"]}
    run.metrics = {name: path for name, path in run.metrics.items() if name.startswith("fc8-none/plda")}
    run.logs, run.paired, run.rejected, run.manifests = {}, [], {}, {}
    assert "1 student, each scored with 1 back-end (plda) on 2 trial lists" in run.page()
    write_summary(run.read(), tmp_path / "summary.tsv")
    assert "fc8-none" in terminal_summary(tmp_path / "summary.tsv", every_backend=False, report=None)


def test_perfect_scores_are_drawn(run):
    for path in run.metrics.values():
        rates = {
            "eer": 0.0,
            "eer_low": 0.0,
            "eer_high": 0.0,
            "det": {"p_miss": [0.0, 1.0], "p_fa": [1.0, 0.0]},
        }
        write_json(path, json.loads(path.read_text()) | rates)
    report = run.read()
    drawn = det_plots(report) + size_scatter(report) + tables.results(report)
    assert "<path" in drawn
    assert "nan" not in drawn


def damage(path: Path, change) -> None:
    """Change a JSON file in place."""
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("eer_low"), "'eer_low' is missing"),
        (lambda data: data.update(eer="2 %"), "'eer' should be a finite number"),
        (lambda data: data.update(eer=float("nan")), "'eer' should be a finite number"),
        (lambda data: data.update(eer=2.8), "should be a fraction"),
        (lambda data: data.update(trials=True), "'trials' should be int"),
        (lambda data: data.update(min_dcf={}), "'min_dcf' is empty"),
        (lambda data: data["min_dcf"].pop("0.01"), "'min_dcf' and 'act_dcf' disagree on the priors"),
        (lambda data: data["det"]["p_fa"].pop(), "60 miss rates but 59"),
        (lambda data: data["act_dcf"].pop("0.01"), "'min_dcf' and 'act_dcf' disagree on the priors"),
        (lambda data: data.pop("min_cllr"), "'min_cllr' is missing"),
        (lambda data: data["cllr"].update(high=None), ":cllr: 'high' should be a finite number, found null"),
        (lambda data: data["histogram"]["targets"].pop(), ":histogram: expected rising edges and a count"),
        (lambda data: data["histogram"]["edges"].reverse(), ":histogram: expected rising edges and a count"),
        (lambda data: data["histogram"].update(targets=[0] * 59), ":histogram: expected scores of both"),
        (
            lambda data: data["conditions"]["sex"]["mixed"].pop("note"),
            "conditions.sex.mixed: 'note' is missing",
        ),
        (
            lambda data: data["conditions"]["sex"]["male"].update(eer=2),
            "conditions.sex.male: 'eer' should be",
        ),
        (
            lambda data: data["conditions"]["sex"]["male"]["min_dcf"].pop("0.05"),
            "conditions.sex.male:min_dcf: '0.05' is missing",
        ),
        (lambda data: data["conditions"].update(sex=[1]), "conditions: 'sex' should be dict, found [1]"),
    ],
)
def test_malformed_metrics_are_refused_in_one_line(run, tmp_path, change, message):
    damage(run.metrics["fc8-wide/plda/hard"], change)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        write_summary(run.read(), tmp_path / "summary.tsv")
    assert "\n" not in str(error.value)


def test_missing_inputs_are_named(run):
    path = run.metrics.pop("fc8-wide/plda/hard")
    with pytest.raises(DataError, match="nothing given for fc8-wide/plda/hard"):
        run.read()
    run.metrics["fc8-wide/plda/hard"] = path.with_name("absent.json")
    with pytest.raises(DataError, match=r"absent\.json: no such file"):
        run.read()
    path.with_name("absent.json").write_text("{,")
    with pytest.raises(DataError, match=r"absent\.json:1: not valid JSON"):
        run.read()


def test_inputs_outside_the_settings_are_refused(run):
    run.metrics["other/plda/hard"] = run.metrics["xvector/plda/hard"]
    with pytest.raises(DataError, match="other/plda/hard: not in the report's settings"):
        run.read()


def test_config_without_cost_is_refused(run):
    damage(run.models["fc8-all"], lambda data: data["cost"].pop("macs_per_second"))
    with pytest.raises(DataError, match=r"fc8-all\.json:cost: 'macs_per_second' is missing"):
        run.read()


def test_backends_of_one_model_are_compared_among_the_backends_and_not_among_the_models(run):
    rows = [line.split("\t") for line in run.paired[0].read_text().splitlines()[1:]]
    p_holm = PAIRED_COLUMNS.index("p_holm")
    for name, difference, p in (("fc8-none", -0.01, 0.01), ("tdnn-kd", -0.03, 0.02), ("xvector", 0.01, 0.4)):
        row = rows[0].copy()
        row[:3] = ["trials", f"{name}/plda", f"{name}/cosine"]
        row[PAIRED_COLUMNS.index("difference")], row[p_holm] = str(difference), str(p)
        rows.append(row)
    write_tsv(run.paired[0], PAIRED_COLUMNS, rows)
    report = run.read()
    assert {(test.system.model, test.baseline.backend) for test in report.backend_tests} == {
        ("fc8-none", "cosine"),
        ("tdnn-kd", "cosine"),
        ("xvector", "cosine"),
    }
    assert not any(test in report.model_tests for test in report.backend_tests)
    tally = re.search(r"<tr><td[^>]*>trials</td><td[^>]*>plda</td>.*?</tr>", str(backends(report)))[0]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", tally) == ["trials", "plda", "cosine", "−1.00", "2", "0", "1"]


def test_paired_rows_must_name_systems_of_the_run(run):
    run.paired[0].write_text(run.paired[0].read_text().replace("fc8-all/plda", "fc8-all"))
    with pytest.raises(DataError, match=r"paired\.tsv:\d+: 'fc8-all' is not a model/backend"):
        run.read()


def test_settings_must_refer_to_models_of_the_run(run):
    run.settings["models"]["fc8-all"]["baseline"] = "gone"
    with pytest.raises(ConfigError, match=r"report\.models\.fc8-all\.baseline: 'gone'"):
        run.read()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "svm"}, r"report\.backends\.calibrated\.kind: 'svm' is none of cosine, plda, fusion"),
        ({"systems": ["gone"]}, r"report\.backends\.calibrated\.systems: 'gone' is not a back-end"),
        ({"calibrated_on": "hard"}, r"report\.trials: hard cannot judge calibrated, which learnt on it"),
    ],
)
def test_back_ends_must_be_known_and_judged_on_trials_that_they_have_not_learnt_on(run, change, message):
    run.settings["backends"]["calibrated"] |= change
    with pytest.raises(ConfigError, match=message):
        run.read()


def test_terminal_summary_has_one_aligned_row_for_each_model(run, tmp_path):
    write_summary(run.read(), tmp_path / "summary.tsv")
    text = terminal_summary(tmp_path / "summary.tsv", every_backend=False, report="report/index.html")
    block = text.split("\n\n")[0].splitlines()
    teacher = ["xvector", "(teacher)", "plda", "2.80", "2.52", "-", "3.14", "0.252", "4.22", "M"]
    assert block[3].split() == teacher
    assert block[4].split() == [
        *("*", "fc8-all", "multilevel", "plda", "2.84", "2.56", "-", "3.18", "0.256"),
        *("2.03", "M", "52.0", "%", "75.4", "%"),
    ]
    assert len(block) == 3 + 10
    assert max(map(len, block)) <= 120
    assert text.endswith("Report: report/index.html")
    everything = terminal_summary(tmp_path / "summary.tsv", every_backend=True, report=None)
    assert len(everything.split("\n\n")[1].splitlines()) == 3 + 30


def test_terminal_summary_ranks_students_by_the_eer_that_it_shows(tmp_path, run):
    summary = tmp_path / "summary.tsv"
    write_summary(run.read(), summary)
    rows = [line.split("\t") for line in summary.read_text().splitlines()]
    eer = rows[0].index("eer")
    for row in rows:  # the best student is the worst one with the other back-end
        if row[0] == "fc8-all" and row[6] == "cosine":
            row[eer] = "0.900000"
    summary.write_text("".join("\t".join(row) + "\n" for row in rows))
    text = terminal_summary(summary, every_backend=False, report=None)
    for block in text.split("\n\n"):
        students = [line for line in block.splitlines()[3:] if "(teacher)" not in line]
        shown = [float(re.search(r"\d+\.\d\d", line)[0]) for line in students]
        assert len(shown) > 1
        assert shown == sorted(shown)


def test_metrics_at_other_priors_than_the_settings_are_refused(run, tmp_path):
    run.settings["p_targets"] = [0.05, 0.2]
    with pytest.raises(
        DataError,
        match=r"--metrics xvector/\S+: min_dcf at 0\.001, 0\.01, 0\.05, but p_targets are 0\.05, 0\.2",
    ):
        write_summary(run.read(), tmp_path / "summary.tsv")


def test_terminal_summary_shows_the_means_over_seeds(run, tmp_path):
    summary = tmp_path / "summary.tsv"
    write_summary(run.read(), summary)
    header, *rows = [line.split("\t") for line in summary.read_text().splitlines()]
    for row in rows:
        if row[0] in ("fc8-all", "fc8-wide"):  # as if they were one student
            row[header.index("group")] = "fc8"
    summary.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]))
    text = terminal_summary(summary, every_backend=False, report=None)
    backends = {row[header.index("backend")] for row in rows}
    mean = min(
        sum(run.eer(name, backend, "trials") for name in ("fc8-all", "fc8-wide")) / 2 for backend in backends
    )
    (line,) = [line for line in text.split("\n\n")[0].splitlines() if "fc8 (2 seeds)" in line]
    assert f" {100 * mean:.2f} " in line
    assert "fc8-all" not in text


def test_summary_of_another_file_is_refused(run, tmp_path):
    with pytest.raises(DataError, match="not the header of a summary"):
        terminal_summary(run.paired[0], every_backend=False, report=None)
    write_summary(run.read(), tmp_path / "summary.tsv")
    text = (tmp_path / "summary.tsv").read_text()
    (tmp_path / "summary.tsv").write_text(text.replace("0.028000", "much"))
    with pytest.raises(DataError, match=r"summary\.tsv:\d+: column eer should be a number"):
        terminal_summary(tmp_path / "summary.tsv", every_backend=False, report=None)


def test_named_arguments_refuse_what_is_not_a_pair():
    def read(*pairs: str) -> dict[str, Path]:
        return by_name("--log", [named_path("--log", pair) for pair in pairs])

    assert read("a=x.tsv", "b=y=z.tsv") == {"a": Path("x.tsv"), "b": Path("y=z.tsv")}
    for pairs in (["a"], ["=x"], ["a="], ["a=x", "a=y"]):
        with pytest.raises(ConfigError, match=r"--log a|--log =x"):
            read(*pairs)


@settings(deadline=None, max_examples=50)
@given(positions=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_keep_their_order_and_distance_and_move_least(positions):
    gap = 1 / 12
    wanted = np.sort(positions)
    placed = spread(wanted, gap)
    assert np.all(np.diff(placed) >= gap - 1e-9)
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9
    spans = [{"type": "ineq", "fun": lambda x, i=i: x[i + 1] - x[i] - gap} for i in range(len(wanted) - 1)]
    start = np.arange(len(wanted)) * gap
    best = minimize(
        lambda x: np.sum((x - wanted) ** 2), start, bounds=[(0, 1)] * len(wanted), constraints=spans
    )
    assert np.sum((placed - wanted) ** 2) <= best.fun + 1e-5


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (9996, "10.0 k"),
        (468_480, "468 k"),
        (999_600, "1.00 M"),
        (4_219_868, "4.22 M"),
    ],
)
def test_counts_have_three_digits(number, text):
    assert count(number) == text


def test_p_values_are_never_nought():
    assert [probability(p) for p in (0.0, 0.0009, 0.002, 0.0499, 1.0)] == [
        "p < 0.001",
        "p < 0.001",
        "p = 0.002",
        "p = 0.0499",
        "p = 1",
    ]
