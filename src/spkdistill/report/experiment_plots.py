"""The students of an experiment against what it varies or against their size, or else as a list."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from spkdistill.report.conditions import by_number
from spkdistill.report.contents import ExperimentModel
from spkdistill.report.experiment_rows import Row, differing, learns, spelt, varied
from spkdistill.report.html import Markup
from spkdistill.report.numbers import count
from spkdistill.report.plots import (
    DASHES,
    MARKERS,
    PALETTE,
    PLAIN,
    STYLE,
    TEACHER,
    grid,
    labelled_scatter,
    padded,
    svg,
)

LAYER = "layer"  # of the targets, where each student learns one


def setting_of(places: Sequence[ExperimentModel]) -> str | None:
    """What an experiment varies: the key with most values, the layer of the targets, or nothing."""
    layers = {place.targets for place in places if place.objective == "multilevel"}
    if len(layers) > 1 and all(len(parts) == 1 and parts[0].startswith("layer:") for parts in layers):
        return LAYER
    values = {key: {spelt(place.vary.get(key)) for place in places} for key in varied(places)}
    most = max(values, key=lambda key: len(values[key]), default=None)
    return most if most and len(values[most]) > 1 else None


def size_of(found: Sequence[Row]) -> str | None:
    """The size as what students are plotted against; None where all are of one."""
    return "size" if len({row.parameters for row in found if row.place}) > 1 else None


def value_of(row: Row, setting: str) -> str | None:
    """A row's value of the setting; None for a teacher, and for a student without such a setting."""
    if row.place is None:
        return None
    if setting == LAYER:
        return row.place.targets[0].removeprefix("layer:") if row.place.objective == "multilevel" else None
    return spelt(row.place.vary[setting]) if setting in row.place.vary else None


def plot(name: str, found: Mapping[str, list[Row]], setting: str | None) -> Markup:
    """A panel for each trial list."""
    rows = len(next(iter(found.values())))
    height = 3.6 if setting else max(3.1, 0.19 * rows + 0.9)
    with matplotlib.rc_context(STYLE):
        figure, panels = grid(len(found), min(len(found), 2), height, legend=0.45)
        what = setting or size_of(next(iter(found.values())))
        for axes, (trials, of_list) in zip(panels, found.items(), strict=True):
            if what is None:
                handles = draw_list(axes, of_list)
            else:
                handles = draw_setting(axes, of_list, setting) if setting else draw_sizes(axes, of_list)
                axes.set_ylabel("EER, %")
            axes.set_title(trials)
            axes.grid()
        figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 6))
        title = f"Equal error rate of the students of {name}" + (f" by {what}" if what else "")
        return svg(figure, f"experiment-{name}", title)


def draw_list(axes: Axes, found: list[Row]) -> list[Artist]:
    """EER of students of one size, the lowest first; a small dot is a seed, the rule a teacher."""
    rows = sorted((row for row in found if row.place), key=lambda row: row.eer.value)
    for line, row in enumerate(rows):
        colour = PALETTE[0] if learns(row.place) != "none" else PLAIN
        axes.plot(
            [100 * row.eer.low, 100 * row.eer.high], [line, line], color=colour, linewidth=1.2, alpha=0.4
        )
        if len(row.seed_eers) > 1:
            axes.plot([100 * eer for eer in row.seed_eers], [line] * len(row.seed_eers), ".", color=colour)
        axes.plot([100 * row.eer.value], [line], "o", color=colour, markersize=5)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="EER, %")
    return draw_rules(axes.axvline, [row for row in found if row.place is None])


def draw_sizes(axes: Axes, found: list[Row]) -> list[Artist]:
    """EER against parameters; a colour is what is learnt, the rule a teacher."""
    methods = dict.fromkeys(learns(row.place) for row in found if row.place)
    named = [method for method in methods if method != "none"]
    hues = {method: PALETTE[index % len(PALETTE)] for index, method in enumerate(named)} | {"none": PLAIN}
    rows = sorted(found, key=lambda row: (row.eer.value, row.name))
    colours = [hues[learns(row.place)] if row.place else TEACHER for row in rows]
    texts = [f"{row.name}, {count(row.parameters)}" for row in rows]
    rates = [100 * row.eer.value for row in rows]
    ends = [100 * end for row in rows for end in (row.eer.low, row.eer.high, *row.seed_eers)]
    sizes = apart([row.parameters for row in rows])
    labelled_scatter(axes, texts, sizes, rates, colours, padded(ends))
    for row, size, colour in zip(rows, sizes, colours, strict=True):
        draw_interval(axes, size, row, colour)
    rules = draw_rules(axes.axhline, [row for row in found if row.place is None])
    return [*rules, *(Line2D([], [], color=hues[method], linewidth=5, label=method) for method in methods)]


def apart(sizes: Sequence[int]) -> list[float]:
    """The sizes, equal ones a few per cent apart, so that one interval does not hide another."""
    seen: Counter[int] = Counter()
    placed = []
    for size in sizes:
        placed.append(size * 1.03 ** (seen[size] - (sizes.count(size) - 1) / 2))
        seen[size] += 1
    return placed


def draw_setting(axes: Axes, found: list[Row], setting: str) -> list[Artist]:
    """EER against the values of a setting; a line joins students that are alike otherwise."""
    placed = [row for row in found if value_of(row, setting) is not None]
    values = sorted({value_of(row, setting) for row in placed}, key=by_number)
    lines = alike(placed, setting)
    rules = draw_rules(axes.axhline, [row for row in found if row not in placed])
    handles = []
    for index, (label, rows) in enumerate(lines.items()):
        colour, marker = PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]
        shift = 0.3 * ((index + 0.5) / len(lines) - 0.5)
        points = sorted((values.index(value_of(row, setting)) + shift, 100 * row.eer.value) for row in rows)
        style = {"color": colour, "marker": marker, "linewidth": 1.4, "label": label}
        handles += axes.plot(*zip(*points, strict=True), **style)
        for row in rows:
            draw_interval(axes, values.index(value_of(row, setting)) + shift, row, colour)
    axes.set_xticks(range(len(values)), values)
    axes.set_xlim(-0.5, len(values) - 0.5)
    axes.set_xlabel(setting)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    return [*rules, *handles]


def alike(rows: list[Row], setting: str) -> dict[str, list[Row]]:
    """The rows by what they differ in beside the setting."""
    names = {LAYER: "Learns", "targets": "Learns", "form": "Form", "mean_norm": "Mean norm."}
    columns = differing([row.place for row in rows])
    columns.pop(names.get(setting, setting), None)
    lines: dict[str, list[Row]] = {}
    for row in rows:
        label = ", ".join(filter(None, (spelt(value(row.place)) for value in columns.values())))
        lines.setdefault(label or row.place.student, []).append(row)
    return lines


def draw_interval(axes: Axes, x: float, row: Row, colour: str) -> None:
    """The interval of a row, and a small dot for each seed where there are several."""
    axes.plot(
        [x, x], [100 * row.eer.low, 100 * row.eer.high], color=colour, linewidth=1.2, alpha=0.4, zorder=1
    )
    if len(row.seed_eers) > 1:
        axes.plot(
            [x] * len(row.seed_eers), [100 * eer for eer in row.seed_eers], ".", color=colour, markersize=3
        )


def draw_rules(rule: Callable[..., Artist], rows: list[Row]) -> list[Artist]:
    """A dashed `rule`, axhline or axvline, at the EER of each row: of teachers black, of students grey."""
    return [
        rule(
            100 * row.eer.value,
            color=TEACHER if row.place is None else PLAIN,
            linewidth=1,
            linestyle=DASHES[1 + index % (len(DASHES) - 1)],
            label=row.name if row.place else f"teacher {row.name}",
            zorder=0,
        )
        for index, row in enumerate(rows)
    ]
