"""The report's experiments: whether the aims hold, the students plotted, and a table of them."""

from collections.abc import Mapping
from pathlib import Path

from spkdistill.report.contents import Comparison, Report
from spkdistill.report.experiment_plots import plot, setting_of, size_of
from spkdistill.report.experiment_rows import Row, Setting, differing, learns, rows, spelt
from spkdistill.report.html import Markup, cell, element, figure, heading, join, number, table
from spkdistill.report.methods import comparison
from spkdistill.report.numbers import count, percent, unbroken
from spkdistill.report.plots import PALETTE, PLAIN, TEACHER, write_svg
from spkdistill.report.sentences import SIGNIFICANT
from spkdistill.report.summary import shared_priors
from spkdistill.report.tables import BREAK, REDUCTIONS, SORTABLE, Scale, scale_of, test_cell

# What arXiv 2303.01125 reaches: an EER of 2.04 % beside its teacher's 1.88 % at 85 to 91 % smaller, and with
# concatenated targets that of the teacher at 75 % smaller; it counts the teacher with its head.
SMALL, SMALL_RATIO = 0.85, 1.09
CONCATENATED, CONCATENATED_RATIO = 0.75, 1.0
NOTE = (
    "The back-end of an experiment was chosen before the results were known: by the config, or else "
    "the run's first PLDA, or its first. Of a student trained with several seeds EER, interval and "
    "minDCF are means over them, and each seed's EER stands below; the interval covers the choice of "
    "speakers. × is the EER over the teacher's. Against: difference of EER in percentage points, below "
    "zero where the student is better, its p-value in a paired test, and that by Holm's method; grey "
    "where the latter is {} or more. "
)


def experiments(report: Report) -> Markup | None:
    """Every experiment; None where the run has none."""
    if not report.settings.experiments:
        return None
    note = unbroken(NOTE.format(SIGNIFICANT)) + SORTABLE
    return join(
        element("p", note, cls="note"), *(block(report, name) for name in report.settings.experiments)
    )


def write_plot(report: Report, name: str, path: Path) -> None:
    """Write the figure of an experiment as SVG."""
    found = {trials: rows(report, name, trials) for trials in report.settings.trials}
    write_svg(path, plot(name, found, setting_of(report.settings.experiments[name].students)))


def block(report: Report, name: str) -> Markup:
    """One experiment."""
    found = {trials: rows(report, name, trials) for trials in report.settings.trials}
    experiment = report.settings.experiments[name]
    setting = setting_of(experiment.students)
    reference = f", reference {experiment.reference}" if experiment.reference else ""
    rules = " and students without such a setting" if setting else ""
    what = setting or size_of(next(iter(found.values())))
    by = f" by {what}" if what else ""
    caption = f"EER and its interval{by}. Small dots are seeds, dashed lines the teacher{rules}."
    parts = [
        element("h3", f"Experiment {name}, by {experiment.backend}{reference}"),
        figure(plot(name, found, setting), caption),
        comparison(report, name, found),
    ]
    for trials, of_list in found.items():
        told = [element("li", unbroken(sentence)) for sentence in sentences(of_list)]
        parts += [element("h4", f"{name}, trial list {trials}"), element("ul", *told) if told else None]
        parts += [experiment_table(report, of_list)]
    return join(*parts)


def sentences(found: list[Row]) -> list[str]:
    """Whether the aims hold."""
    distilled = [row for row in found if row.place and row.place.objective != "none"]
    multilevel = [row for row in distilled if row.place.objective == "multilevel"]
    several = [row for row in multilevel if len(row.place.targets) > 1]
    told = multilevel_aim(multilevel, "Students of the teacher's embeddings", SMALL, SMALL_RATIO)
    told += multilevel_aim(several, "Students of several targets", CONCATENATED, CONCATENATED_RATIO)
    return told + tests_sentence([row.against_none for row in distilled if row.against_none])


def multilevel_aim(found: list[Row], kind: str, share: float, aim: float) -> list[str]:
    """For each teacher, how near the best of its students of a kind is to it that is small enough."""
    told, teachers = [], dict.fromkeys(row.teacher for row in found)
    for name in teachers:
        teacher = f"the teacher {name}" if len(teachers) > 1 else "their teacher"
        students = [row for row in found if row.teacher == name]
        small = [row for row in students if row.smaller[1] >= share and row.ratio is not None]
        begun = f"{kind} at least {percent(share, 0)} smaller than {teacher} with its head"
        told.append(
            f"{begun}: {len(small)} of {len(students)}. {nearest(small, aim)}"
            if small
            else f"{begun}: none of {len(students)}."
        )
    return told


def nearest(students: list[Row], aim: float) -> str:
    """The student nearest to its teacher, and whether that is near enough; the same without a teacher."""
    best = min(students, key=lambda row: row.ratio)
    verdict = "reached" if best.ratio <= aim else "missed"
    if best.against_none and best.eer.value:
        alone = best.ratio * best.against_none.eer_baseline / best.eer.value
        verdict += f"; the same student without a teacher: {alone:.2f}"
    return f"The nearest is {best.name}, {best.ratio:.2f} times its EER (aim: {aim:.2f} at most, {verdict})."


def tests_sentence(tests: list[Comparison]) -> list[str]:
    """How many distilled students are better than without a teacher."""
    if not tests:
        return []
    better = [test for test in tests if test.difference.value < 0]
    alone = sum(test.p_value < SIGNIFICANT for test in better)
    adjusted = sum(test.p_holm < SIGNIFICANT for test in better)
    return [
        f"{len(better)} of {len(tests)} distilled students have a lower EER than the same student trained "
        f"without a teacher: {alone} at p < {SIGNIFICANT} in a paired test, {adjusted} after Holm's method."
    ]


def experiment_table(report: Report, found: list[Row]) -> Markup:
    """A row for each teacher and student."""
    prior, scale = shared_priors(report)[0], scale_of([row.eer for row in found], found[0].eer.value)
    columns = {"Student": lambda place: place.student, "Learns": learns}
    columns |= differing([row.place for row in found if row.place])
    drawn = f"{100 * scale.low:.1f} to {100 * scale.high:.1f} %"
    header = [
        *map(heading, columns),
        heading("EER, %", "mean over the seeds, and below it that of each", "number"),
        heading("Interval", "ends of the EER's interval", "number"),
        heading(drawn, "the EER's interval; the dotted line is the first teacher"),
        heading("×", "EER over the teacher's", "number"),
        heading(join("minDCF", BREAK, prior), f"target prior {prior}", "number"),
        heading("Params", "parameters without the head", "number"),
        *REDUCTIONS,
        heading(join("Against", BREAK, "teacher"), "difference of EER, p, Holm p", "number"),
        heading(
            join("… without", BREAK, "teacher"), "the same student: difference of EER, p, Holm p", "number"
        ),
    ]
    tested = any(row.reference for row in found)
    if tested:
        header.append(heading(join("Reference", BREAK, "− it"), "difference of EER, p, Holm p", "number"))
    return table(header, [experiment_row(row, columns, scale, tested) for row in found], "full")


def experiment_row(row: Row, columns: Mapping[str, Setting], scale: Scale, tested: bool) -> Markup:
    """One teacher or student."""
    seeds = " ".join(f"{100 * eer:.2f}" for eer in row.seed_eers) if len(row.seed_eers) > 1 else ""
    eer = join(f"{100 * row.eer.value:.2f}", BREAK if seeds else None, element("span", seeds, cls="faint"))
    return element(
        "tr",
        *setting_cells(row, columns),
        cell(eer, row.eer.value, "number"),
        number(f"{100 * row.eer.low:.2f} – {100 * row.eer.high:.2f}", row.eer.low),
        cell(scale.bar(row.eer, colour_of(row)), row.eer.value, "bar"),
        cell("", -9) if row.ratio is None else number(f"{row.ratio:.2f}", row.ratio),
        *(number(f"{row.min_dcf:.3f}", row.min_dcf), number(count(row.parameters), row.parameters)),
        *([number(percent(share, 1), share) for share in row.smaller] if row.smaller else [cell("", -9)] * 2),
        *map(test_cell, (row.against_teacher, row.against_none)),
        test_cell(row.reference) if tested else None,
    )


def setting_cells(row: Row, columns: Mapping[str, Setting]) -> list[Markup]:
    """What tells a student apart, its name shown over it; a teacher's name."""
    if row.place is None:
        texts = {"Student": row.name, "Learns": "teacher"}
        return [cell(texts.get(column, "")) for column in columns]
    return [element("td", spelt(setting(row.place)), title=row.name) for setting in columns.values()]


def colour_of(row: Row) -> str:
    """Black for a teacher, grey for a student without one."""
    if row.place is None:
        return TEACHER
    return PLAIN if row.place.objective == "none" else PALETTE[0]
