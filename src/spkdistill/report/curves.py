"""Training curves: small multiples of the columns of the training logs by epoch."""

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spkdistill.report.html import Markup
from spkdistill.report.plots import INK, PALETTE, STYLE, grid, svg

Logs = Mapping[str, Mapping[str, np.ndarray]]  # name: column: values by epoch
SETTINGS = ("epoch", "learning_rate")
TOGETHER = 6  # curricula in a figure


def kind(column: str) -> str:
    """What a column is: of the settings, an accuracy, of the curriculum of triage distillation, or a loss."""
    if column in SETTINGS:
        return "setting"
    if "accuracy" in column:
        return "accuracy"
    return "curriculum" if column == "tau" or column.endswith("_size") or column.startswith("p_") else "loss"


def loss_curves(logs: Logs) -> Markup | None:
    """A panel for each log, a line for each term of its loss."""
    return draw_panels("training-loss", logs, [(name, name, columns_of(logs[name], "loss")) for name in logs])


def accuracy_curves(logs: Logs) -> Markup | None:
    """A panel for each log that has an accuracy."""
    return draw_panels(
        "training-accuracy", logs, [(name, name, columns_of(logs[name], "accuracy")) for name in logs]
    )


def curriculum_curves(logs: Logs) -> list[Markup]:
    """A panel for each column of a curriculum: its cut tau, the sizes and the masses of the sets.

    A line is a log; each figure has TOGETHER of them.
    """
    names = [name for name, log in logs.items() if columns_of(log, "curriculum")]
    return [
        draw_curriculum({name: logs[name] for name in names[start : start + TOGETHER]}, start)
        for start in range(0, len(names), TOGETHER)
    ]


def draw_curriculum(logs: Logs, number: int) -> Markup:
    """One of these figures; `number` tells it apart."""
    columns = list(dict.fromkeys(column for log in logs.values() for column in columns_of(log, "curriculum")))
    with matplotlib.rc_context(STYLE):
        figure, panels = grid(len(columns), min(len(columns), 3), 1.9, legend=0.5)
        for axes, column in zip(panels, columns, strict=True):
            for hue, log in zip((INK, *PALETTE), logs.values(), strict=False):
                if column in log:
                    draw_column(axes, log, column, hue)
            axes.set_title(column, fontsize=9)
            axes.set_ylim(bottom=0)
        handles = [
            Line2D([], [], color=hue, label=name) for hue, name in zip((INK, *PALETTE), logs, strict=False)
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
        return svg(figure, f"curriculum-{number}", f"By epoch: {', '.join(columns)} of {', '.join(logs)}")


def columns_of(log: Mapping[str, np.ndarray], wanted: str) -> list[str]:
    """The columns of one kind."""
    return [column for column in log if kind(column) == wanted]


def draw_panels(name: str, logs: Logs, panels: list[tuple[str, str, list[str]]]) -> Markup | None:
    """A figure of (title, log, columns); None where there is nothing to draw."""
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return None
    columns = list(dict.fromkeys(column for *_, drawn in panels for column in drawn))
    hues = {column: (INK, *PALETTE)[index % (1 + len(PALETTE))] for index, column in enumerate(columns)}
    with matplotlib.rc_context(STYLE):
        across = min(max(110 // max(len(title) for title, *_ in panels), 2), 5)  # as many as the titles allow
        figure, axes = grid(len(panels), across, 1.6)
        for panel, (title, log, drawn) in zip(axes, panels, strict=True):
            for column in drawn:
                draw_column(panel, logs[log], column, hues[column])
            if len(drawn) > 1:
                panel.legend(fontsize=7, handlelength=1.2, labelspacing=0.25, borderaxespad=0.1)
            panel.set_title(title, fontsize=9)
            if panel.dataLim.ymin >= 0:
                panel.set_ylim(bottom=0)
        return svg(figure, name, f"By epoch: {', '.join(columns)}")


def draw_column(axes: Axes, log: Mapping[str, np.ndarray], column: str, colour: str) -> None:
    """One column of a log over its epochs; a few epochs are marked, for one alone is no line."""
    marker = "." if len(log["epoch"]) < 4 else None
    axes.plot(log["epoch"], log[column], color=colour, linewidth=1.4, marker=marker, label=column)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.grid(True)
