"""What each teacher's targets have in common: a table of the parts, a heat map and a table of the pairs."""

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from spkdistill.report.contents import Analysis, Pair, Part
from spkdistill.report.html import Markup, cell, details, element, figure, heading, join, number, table
from spkdistill.report.numbers import percent, unbroken
from spkdistill.report.plots import INK, PALETTE, STYLE, WIDTH, grid, svg, write_svg

NOTES = (
    "Of the training views' targets as they were dumped. Effective rank: the exponential of the entropy of "
    "the normalised singular values; participation ratio: the squared sum of the variances of the principal "
    "axes over the sum of their squares. Both are the dimension if all directions vary alike, and 1 if one "
    "does. Between speakers: the share of the variance that lies between the speakers' means.",
    "CKA is linear, from the unbiased estimate of HSIC: 1 for the same up to rotation and scale, near 0 for "
    "unrelated targets. The canonical correlation is the mean over the pairs of directions that hold 99 % of "
    "either variance. R² is the share of a target's variance that a ridge regression predicts from another. "
    "Correlation and R² are of speakers that were not fitted, but the ridge was chosen on them. A target "
    "that another one predicts is redundant beside it, one that none predicts complements them.",
)
CAPTION = "Each two targets of {}. R² is that of the row's target, predicted from the column's."
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", PALETTE[0]])


def analysis(analyses: Mapping[str, Analysis]) -> Markup | None:
    """A block for each teacher whose targets were analysed; None where there is none."""
    if not analyses:
        return None
    blocks = [teacher_block(name, found) for name, found in analyses.items()]
    return join(*(element("p", unbroken(note), cls="note") for note in NOTES), *blocks)


def write_heat_maps(name: str, found: Analysis, path: Path) -> None:
    """Write the heat maps of an analysis as SVG."""
    write_svg(path, heat_maps(name, found))


def teacher_block(name: str, found: Analysis) -> Markup:
    """One teacher: sentences and tables, and the heat maps where there is a pair."""
    parts = [element("h3", f"Teacher {name}, {found.views:,} views of {found.speakers:,} speakers")]
    parts += [element("p", unbroken(sentence)) for sentence in sentences(found)]
    parts += [parts_table(found.parts)]
    if found.pairs:
        parts += [
            figure(heat_maps(name, found), CAPTION.format(name)),
            details("Every pair", pairs_table(found.pairs)),
        ]
    return join(*parts)


def sentences(found: Analysis) -> list[str]:
    """The most redundant pair, by the mean of both R^2, and the most complementary one."""
    if len(found.pairs) < 2:
        return []
    ranked = sorted(found.pairs, key=shared)
    return [
        f"Most redundant: {in_words(ranked[-1])}.",
        f"Most complementary: {in_words(ranked[0])}.",
    ]


def shared(pair: Pair) -> float:
    """How far the two parts predict each other."""
    return sum(pair.r2) / 2


def in_words(pair: Pair) -> str:
    """What one of a pair predicts of the other."""
    one, other = pair.parts
    return (
        f"{one} and {other} (CKA {pair.cka:.2f}). On speakers that were not fitted {other} predicts "
        f"{explained(pair.r2[0])} of the variance of {one}, and {one} {explained(pair.r2[1])} of that of "
        f"{other}"
    )


def explained(r2: float) -> str:
    """A share of variance; a prediction worse than the mean explains nothing."""
    return percent(max(r2, 0.0), 1)


def parts_table(parts: list[Part]) -> Markup:
    """What each part is."""
    header = [
        heading("Target"),
        heading("Dimension", cls="number"),
        heading("Effective rank", "of Roy and Vetterli", "number"),
        heading("Participation ratio", cls="number"),
        heading("Between speakers", "share of the variance", "number"),
    ]
    rows = [
        element(
            "tr",
            *(cell(part.name), number(f"{part.dim:,}", part.dim)),
            *(number(f"{rank:.1f}", rank) for rank in (part.effective_rank, part.participation_ratio)),
            number(percent(part.between_speaker_share, 1), part.between_speaker_share),
        )
        for part in parts
    ]
    return table(header, rows)


def pairs_table(pairs: list[Pair]) -> Markup:
    """Every figure of every pair, the most redundant first."""
    header = [heading("Target"), heading("Other target")]
    header += [
        heading(name, title, "number")
        for name, title in (
            ("CKA", None),
            ("Correlation", "mean canonical correlation, held out"),
            ("R² from the other", "of the target, predicted from the other one, held out"),
            ("R² of the other", "of the other target, predicted from the first, held out"),
        )
    ]
    rows = [
        element(
            "tr",
            *map(cell, pair.parts),
            *(number(f"{value:.3f}", value) for value in (pair.cka, pair.canonical_correlation, *pair.r2)),
        )
        for pair in sorted(pairs, key=shared, reverse=True)
    ]
    return table(header, rows)


def heat_maps(name: str, found: Analysis) -> Markup:
    """CKA, canonical correlation and R^2 of each two parts."""
    names = [part.name for part in found.parts]
    maps = {
        "CKA": matrix(found, lambda pair: (pair.cka, pair.cka)),
        "Canonical correlation": matrix(found, lambda pair: (pair.canonical_correlation,) * 2),
        "R², row from column": matrix(found, lambda pair: pair.r2),
    }
    with matplotlib.rc_context(STYLE):
        drawn, panels = grid(len(maps), len(maps), WIDTH / len(maps) - 0.2)
        for axes, (title, values) in zip(panels, maps.items(), strict=True):
            draw_map(axes, names, values)
            axes.set_title(title)
        for axes in panels[1:]:
            axes.set_yticklabels([])
        return svg(drawn, f"targets-{name}", f"What the targets of {name} have in common")


def matrix(found: Analysis, values: Callable[[Pair], tuple[float, float]]) -> np.ndarray:
    """The values of all pairs as a matrix whose diagonal is 1; the second is that of the lower triangle."""
    rows = {part.name: row for row, part in enumerate(found.parts)}
    filled = np.eye(len(rows))
    for pair in found.pairs:
        row, column = (rows[part] for part in pair.parts)
        filled[row, column], filled[column, row] = values(pair)
    return filled


def draw_map(axes: Axes, names: list[str], values: np.ndarray) -> None:
    """Squares shaded from 0 to 1, each with its value."""
    axes.pcolormesh(values, cmap=SHADES, vmin=0, vmax=1, edgecolors="white", linewidth=1)
    size = min(9, 70 / len(names))
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > 0.6 else INK
        axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color=colour, size=size)
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
