"""summary.tsv, a row for each model, back-end and trial list, and the table that a terminal shows of it."""

from pathlib import Path
from statistics import fmean

from spkdistill.errors import DataError
from spkdistill.files import read_text, read_tsv, write_tsv
from spkdistill.report.contents import Report
from spkdistill.report.fields import number_of
from spkdistill.report.numbers import count, percent

COLUMNS = [
    *("model", "role", "arch", "objective", "targets", "teacher", "backend", "trials"),
    *("parameters", "parameters_with_head", "reduction", "reduction_with_head"),
    *("macs_per_second", "embedding_dim", "eer", "eer_low", "eer_high", "confidence"),
]
MIN_DCF, ACT_DCF = "min_dcf_", "act_dcf_"
LAST_COLUMNS = ["cllr", "min_cllr", "group"]  # a group's models differ in the seed of their training alone


def columns_for(priors: list[str]) -> list[str]:
    """The header of a summary.tsv."""
    return [*COLUMNS, *(name + prior for name in (MIN_DCF, ACT_DCF) for prior in priors), *LAST_COLUMNS]


def write_summary(report: Report, path: Path) -> None:
    """Write summary.tsv: rates are fractions, Cllr in bits, an empty field is a value that does not apply."""
    priors = shared_priors(report)
    write_tsv(path, columns_for(priors), [summary_row(report, key, priors) for key in report.metrics])


def shared_priors(report: Report) -> list[str]:
    """The target priors of minDCF as the metrics files name them, in the order of the settings."""
    priors = [f"{p:g}" for p in report.settings.p_targets]
    for system, metrics in report.metrics.items():
        if metrics.min_dcf.keys() != set(priors):
            raise DataError(
                f"--metrics {'/'.join(system)}: min_dcf at {', '.join(metrics.min_dcf)}, but p_targets are "
                f"{', '.join(priors)}; make it again"
            )
    return priors


def summary_row(report: Report, key: tuple[str, str, str], priors: list[str]) -> list[str]:
    """The fields of one system on one trial list."""
    name, backend, trials = key
    model, cost, metrics = report.settings.models[name], report.costs[name], report.metrics[key]
    reduction = report.reduction(name)
    shares = [f"{share:.6f}" for share in reduction] if reduction else ["", ""]
    rates = [metrics.eer.value, metrics.eer.low, metrics.eer.high, metrics.confidence]
    rates += [costs[prior].value for costs in (metrics.min_dcf, metrics.act_dcf) for prior in priors]
    rates += [metrics.cllr.value, metrics.min_cllr]
    return [
        *(name, model.role, model.arch, model.objective or "", "+".join(model.targets), model.teacher or ""),
        *(backend, trials, str(cost.parameters), str(cost.parameters_with_head), *shares),
        *(f"{cost.macs_per_second:.0f}", str(cost.embedding_dim), *(f"{rate:.6f}" for rate in rates)),
        model.group,
    ]


def terminal_summary(path: Path, every_backend: bool, report: str | None) -> str:
    """A summary.tsv as aligned text: by trial list, each model with its best back-end or with every one.

    A student that was trained with several seeds has one row, of the means over them.
    """
    rows = read_summary(path)
    blocks = []
    for trials in dict.fromkeys(row["trials"] for row in rows):
        listed = over_seeds([row for row in rows if row["trials"] == trials])
        listed.sort(key=lambda row: (row["role"] != "teacher", float(row["eer"])))
        if not every_backend:
            best_of = {row["group"]: row for row in reversed(listed)}
            listed = [row for row in listed if row is best_of[row["group"]]]
        blocks.append(trials_block(trials, listed, every_backend))
    if report:
        blocks.append(f"Report: {report}")
    return "\n\n".join(blocks)


def over_seeds(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """A row for each group and back-end, with the means of its rates and of the ends of its interval."""
    systems: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        systems.setdefault((row["group"], row["backend"]), []).append(row)
    means = []
    for (group, _), alike in systems.items():
        rates = [column for column in alike[0] if column.startswith(("eer", MIN_DCF))]
        mean = {column: str(fmean(float(row[column]) for row in alike)) for column in rates}
        name = {} if len(alike) == 1 else {"model": f"{group} ({len(alike)} seeds)"}
        means.append(alike[0] | mean | name)
    return means


def read_summary(path: Path) -> list[dict[str, str]]:
    """The rows of a summary.tsv, each a mapping from column to field, the numbers checked."""
    columns = read_text(path).partition("\n")[0].split("\t")
    priors = [name.removeprefix(MIN_DCF) for name in columns if name.startswith(MIN_DCF)]
    if not priors or columns != columns_for(priors):
        raise DataError(f"{path}:1: not the header of a summary.tsv; make it again with `spkdistill report`")
    rows = [dict(zip(columns, row, strict=True)) for row in read_tsv(path, columns)]
    for number, row in enumerate(rows, start=2):
        for column in columns[columns.index("parameters") : columns.index("group")]:
            if row[column] or not column.startswith("reduction"):
                number_of(row, column, f"{path}:{number}")
    return rows


def trials_block(trials: str, rows: list[dict[str, str]], every_backend: bool) -> str:
    """The table of one trial list; a star marks the best student."""
    students = [row for row in rows if row["role"] == "student"]
    best = min(students, key=lambda row: float(row["eer"]), default=None)
    priors = [name.removeprefix(MIN_DCF) for name in rows[0] if name.startswith(MIN_DCF)]
    prior = priors[0]
    interval = f"{percent(float(rows[0]['confidence']), 0)} interval"
    header = ["", "model", "objective", "back-end", "EER %", interval]
    header += [f"minDCF {prior}", "parameters", "smaller", "(with head)"]
    table = [header, *(terminal_row(row, row is best, prior) for row in rows)]
    shown = "every back-end" if every_backend else "each model with the back-end of its lowest EER"
    return f"Trial list {trials}: {shown}; * best student\n" + aligned(table, left={0, 1, 2, 3})


def terminal_row(row: dict[str, str], best: bool, prior: str) -> list[str]:
    """The fields of one row, formatted for a person."""
    method = "(teacher)" if row["role"] == "teacher" else row["objective"] or "none"
    eer, low, high = (f"{100 * float(row[key]):.2f}" for key in ("eer", "eer_low", "eer_high"))
    reductions = row["reduction"], row["reduction_with_head"]
    return [
        *("*" if best else "", row["model"], method, row["backend"]),
        *(eer, f"{low} - {high}", f"{float(row[MIN_DCF + prior]):.3f}", count(float(row["parameters"]))),
        *(percent(float(share), 1) if share else "" for share in reductions),
    ]


def aligned(table: list[list[str]], left: set[int]) -> str:
    """Rows of text in columns two spaces apart, a rule under the header."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:]])
