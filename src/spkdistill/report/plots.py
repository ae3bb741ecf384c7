"""The report's figures, as SVG text that is the same bytes for the same numbers.

A colour is an objective everywhere (black a teacher, grey no distillation), of the palette of Okabe and Ito,
which colour-blind readers can tell apart; a marker is a back-end; dashes tell models of one objective apart.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from scipy.special import ndtri

from spkdistill.files import write_text
from spkdistill.report.contents import Report
from spkdistill.report.html import Markup, escape
from spkdistill.report.numbers import count

TEACHER, PLAIN, RULE, INK = "#111111", "#7a7a7a", "#d9d9d9", "#333333"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D1F", "#5B4DB5")
MARKERS = "osD^vPX*"
DASHES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (9, 2)),
    (0, (2.5, 2.5)),
    (0, (9, 2, 2, 2)),
)
STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["sans-serif"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
WIDTH = 11.4  # inches, of 96 pixels on the page
DET_CURVES = 8
DET_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 60)  # %


def colours(report: Report) -> dict[str, str]:
    """The colour of each model and each group: that of its objective."""
    models = report.settings.models
    objectives = [model.objective for model in models.values() if model.role == "student"]
    named = [name for name in dict.fromkeys(objectives) if name not in (None, "none")]
    palette = {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(named)}
    return {
        name: TEACHER if model.role == "teacher" else palette.get(model.objective, PLAIN)
        for model_name, model in models.items()
        for name in (model_name, model.group)
    }


def eer_forest(report: Report) -> Markup:
    """EER with its interval: a panel for a trial list, a row for a model, a marker for a back-end."""
    lists, backends = report.settings.trials, report.settings.backends
    names = report.ranked(lists[0], "teacher") + report.ranked(lists[0], "student")
    with matplotlib.rc_context(STYLE):
        step = 0.12 * len(backends) + 0.11  # inches a model
        figure, panels = grid(
            len(lists), min(len(lists), 3), step * len(names) + 0.75, legend=0.45, share_y=True
        )
        for axes, trials in zip(panels, lists, strict=True):
            draw_forest(axes, report, names, trials)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        styles = [
            {"marker": MARKERS[i % len(MARKERS)], "color": INK, "linestyle": ""} for i in range(len(backends))
        ]
        legend(figure, report, zip(backends, styles, strict=True))
        return svg(figure, "eer-forest", "Equal error rate of each model and back-end, with its interval")


def draw_forest(axes: Axes, report: Report, names: Sequence[str], trials: str) -> None:
    """One trial list of the forest plot; the dashed rule is the best teacher."""
    backends, colour = report.settings.backends, colours(report)
    for row, name in enumerate(names):
        for index, backend in enumerate(backends):
            eer = report.metrics[name, backend, trials].eer
            y = row + (index - (len(backends) - 1) / 2) * 0.6 / len(backends)
            axes.plot([100 * eer.low, 100 * eer.high], [y, y], color=colour[name], linewidth=1.4, alpha=0.75)
            marker = MARKERS[index % len(MARKERS)]
            axes.plot(
                100 * eer.value,
                y,
                marker,
                color=colour[name],
                markersize=4.6,
                markeredgecolor="white",
                mew=0.5,
            )
    for teacher in report.ranked(trials, "teacher")[:1]:
        best = report.of(report.best(teacher, trials), trials)
        axes.axvline(
            100 * best.eer.value, color=TEACHER, linewidth=0.8, linestyle=(0, (2, 2)), alpha=0.6, zorder=0
        )
    axes.set_title(trials)
    axes.set_xlabel("EER, %")
    axes.grid(axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0)


def size_scatter(report: Report) -> Markup:
    """EER against parameters (log scale), each model with its best back-end; labels beside the panel."""
    lists, models = report.settings.trials, report.settings.models
    with matplotlib.rc_context(STYLE):
        height = max(3.1, 0.19 * len(models) + 0.9)
        figure, panels = grid(len(lists), min(len(lists), 2), height, legend=0.45)
        for axes, trials in zip(panels, lists, strict=True):
            draw_scatter(axes, report, trials)
        legend(figure, report, ())
        return svg(
            figure, "size-scatter", "Equal error rate against the number of parameters without the head"
        )


def draw_scatter(axes: Axes, report: Report, trials: str) -> None:
    """One trial list of the scatter plot."""
    colour = colours(report)
    eers = {
        name: 100 * report.of(report.best(name, trials), trials).eer.value for name in report.settings.models
    }
    names = sorted(eers, key=lambda name: (eers[name], name))
    sizes, rates = [report.costs[name].parameters for name in names], [eers[name] for name in names]
    labels = [f"{name}, {count(size)}" for name, size in zip(names, sizes, strict=True)]
    labelled_scatter(axes, labels, sizes, rates, [colour[name] for name in names], padded(rates))
    axes.set_title(trials)
    axes.set_ylabel("EER, %")
    axes.grid()


def padded(values: Sequence[float]) -> tuple[float, float]:
    """The limits of an axis on which the values have a margin."""
    low, high = min(values), max(values)
    margin = 0.08 * max(high - low, 0.1)
    return low - margin, high + margin


def labelled_scatter(
    axes: Axes,
    texts: Sequence[str],
    sizes: Sequence[float],
    rates: Sequence[float],
    hues: Sequence[str],
    limits: tuple[float, float],
) -> None:
    """Rising rates against sizes (log scale), the texts beside the panel, each joined to its point."""
    low, high = limits
    axes.set_xscale("log")
    axes.set_xlim(min(sizes) / 1.35, max(sizes) * 1.35)
    axes.set_ylim(low, high)
    heights = spread((np.array(rates) - low) / (high - low), 1 / max(len(texts), 12))
    for text, size, rate, hue, height in zip(texts, sizes, rates, hues, heights, strict=True):
        axes.plot(size, rate, "o", color=hue, markersize=6, markeredgecolor="white", mew=0.6)
        axes.annotate(
            text,
            (size, rate),
            (1.03, height),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            arrowprops={"arrowstyle": "-", "color": "#bbbbbb", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
            zorder=0,
            annotation_clip=False,
        )
    ticks = [factor * 10**power for power in range(2, 12) for factor in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{count(size).replace('.00', '')}"))
    axes.set_xlabel("parameters without the head")


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Sorted positions moved apart to `gap` at least and into 0..1, as little as possible (least squares).

    Without the gaps, positions[i] - i gap, it is isotonic regression: neighbours out of order share a mean.
    """
    gaps = gap * np.arange(len(positions))
    blocks: list[list[float]] = []  # each the mean and the size of neighbours that ended up touching
    for value in positions - gaps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (mean, size), (last, more) = blocks[-2:]
            blocks[-2:] = [[(mean * size + last * more) / (size + more), size + more]]
    means, sizes = zip(*blocks, strict=True)
    return np.clip(np.repeat(means, sizes), 0, max(1 - gaps[-1], 0)) + gaps


def det_plots(report: Report) -> Markup:
    """Miss against false-alarm rate on probit axes: the teachers and the best students of each trial list."""
    lists = report.settings.trials
    with matplotlib.rc_context(STYLE):
        curves = min(len(report.settings.models), DET_CURVES)
        figure, panels = grid(len(lists), 2, 5.9 + 0.18 * curves)
        for axes, trials in zip(panels, lists, strict=True):
            draw_det(axes, report, trials)
        return svg(figure, "det", "Detection error trade-off curves")


def det_models(report: Report, trials: str) -> list[str]:
    """The models whose curves are drawn: a few that can be told apart, teachers first."""
    return (report.ranked(trials, "teacher") + report.ranked(trials, "student"))[:DET_CURVES]


def draw_det(axes: Axes, report: Report, trials: str) -> None:
    """One trial list's DET curves; the axes go from a tenth of the lowest EER to four times the highest."""
    colour, names = colours(report), det_models(report, trials)
    rates = [report.of(report.best(name, trials), trials).eer.value for name in names]
    low = max((tick for tick in DET_TICKS if tick <= 10 * min(rates)), default=DET_TICKS[0])
    high = min((tick for tick in DET_TICKS if tick >= max(400 * max(rates), 5)), default=DET_TICKS[-1])
    used: dict[str, int] = {}
    for name, rate in zip(names, rates, strict=True):
        system = report.best(name, trials)
        metrics, hue = report.of(system, trials), colour[name]
        dash = DASHES[used.setdefault(hue, 0) % len(DASHES)]
        used[hue] += 1
        # Curves are cut well outside the axes, where probit(0) and probit(1) would be infinite.
        p_fa, p_miss = (ndtri(np.clip(p, low / 1000, 0.9)) for p in (metrics.p_fa, metrics.p_miss))
        label = f"{name}, {system.backend}: {100 * rate:.2f} %"
        axes.plot(p_fa, p_miss, color=hue, linestyle=dash, linewidth=1.5, label=label)
    ticks = [tick for tick in DET_TICKS if low <= tick <= high]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ndtri(np.array(ticks) / 100)))
        axis.set_major_formatter(matplotlib.ticker.FixedFormatter([f"{tick:g}" for tick in ticks]))
    limits = ndtri(np.array([low, high]) / 100)
    axes.plot(limits, limits, color="#888888", linewidth=0.7, linestyle=(0, (1, 3)), zorder=0)
    axes.set(xlim=limits, ylim=limits, aspect="equal", title=trials)
    axes.set_xlabel("false alarms, %")
    axes.set_ylabel("misses, %")
    axes.grid()
    below = {"loc": "upper left", "bbox_to_anchor": (-0.02, -0.13), "borderaxespad": 0}
    axes.legend(**below, title="model, back-end: EER", alignment="left", handlelength=3.4)


def grid(
    panels: int, across: int, height: float, legend: float = 0.0, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure of `panels` axes, `across` a row, rows `height` inches high, `legend` inches above them."""
    down = -(-panels // across)
    figure = Figure(figsize=(WIDTH, down * height + legend), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.03, hspace=0.03)
    axes = figure.subplots(down, across, squeeze=False, sharey=share_y).ravel().tolist()
    for spare in axes[panels:]:
        spare.set_axis_off()
    return figure, axes[:panels]


def legend(figure: Figure, report: Report, markers: Any) -> None:
    """One legend above the panels: what the colours are, then what the markers are."""
    colour = colours(report)
    named = {
        "teacher" if model.role == "teacher" else model.objective or "none": colour[name]
        for name, model in report.settings.models.items()
    }
    handles = [Line2D([], [], color=hue, linewidth=5, label=label) for label, hue in named.items()]
    handles += [Line2D([], [], label=label, **style) for label, style in markers]
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1.2, columnspacing=1.6
    )


def svg(figure: Figure, name: str, title: str) -> Markup:
    """The figure as an <svg> element; `name` salts its ids, so that no two figures of a page share one."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1).strip())


def write_svg(path: Path, image: Markup) -> None:
    """Write a figure as a file of its own."""
    write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{image}\n')
