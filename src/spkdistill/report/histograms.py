"""Histograms of the scores of targets and non-targets, with the thresholds at which they are told apart."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.special import logit

from spkdistill.report.contents import Report
from spkdistill.report.html import Markup
from spkdistill.report.plots import DASHES, INK, PALETTE, STYLE, grid, svg
from spkdistill.report.summary import shared_priors

TARGETS, NONTARGETS = PALETTE[0], PALETTE[3]
EER_LINE = {"color": INK, "linewidth": 1.3}


def score_histograms(report: Report) -> Markup:
    """A row of panels for each trial list: its best teacher, its best student."""
    panels = [(trials, name) for trials in report.settings.trials for name in report.leaders(trials)]
    bayes = bayes_lines(shared_priors(report))
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(panels), min(len(panels), 2), 2.2, legend=0.4)
        for panel, (trials, name) in zip(axes, panels, strict=True):
            draw_scores(panel, report, trials, name, bayes)
        handles = [Patch(color=TARGETS, alpha=0.5, label="targets")]
        handles += [Patch(color=NONTARGETS, alpha=0.5, label="non-targets")]
        handles += [Line2D([], [], label="EER threshold", **EER_LINE)]
        handles += [
            Line2D([], [], label=f"Bayes threshold at {prior}", **line) for prior, line in bayes.items()
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), columnspacing=1.6)
        return svg(figure, "score-histograms", "Histograms of target and non-target scores")


def bayes_lines(priors: list[str]) -> dict[str, dict]:
    """How the Bayes threshold of each target prior is drawn."""
    dashes = DASHES[1:]
    return {
        prior: {"color": INK, "linewidth": 1, "linestyle": dashes[index % len(dashes)]}
        for index, prior in enumerate(priors)
    }


def draw_scores(axes: Axes, report: Report, trials: str, name: str, bayes: dict[str, dict]) -> None:
    """One system's histograms; with Bayes thresholds, -logit(prior), if it gives log-likelihood ratios."""
    system = report.best(name, trials)
    metrics = report.of(system, trials)
    edges = metrics.histogram.edges
    for counts, colour in ((metrics.histogram.nontargets, NONTARGETS), (metrics.histogram.targets, TARGETS)):
        density = counts / (counts.sum() * np.diff(edges))
        axes.stairs(density, edges, fill=True, color=colour, alpha=0.3)
        axes.stairs(density, edges, color=colour, linewidth=1.1)
    axes.axvline(metrics.threshold_eer, **EER_LINE)
    if report.settings.backends[system.backend].gives_llrs:
        for prior, line in bayes.items():
            axes.axvline(-logit(float(prior)), **line)
    axes.set(title=f"{trials}: {name}, {system.backend}", xlabel="score", ylabel="density", yticks=[])
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(8))
