"""Results in a line of text, for those who run `spkdistill metrics` and `spkdistill paired` by hand."""

from collections.abc import Mapping
from typing import Any


def metrics_line(name: str, metrics: Mapping[str, Any], prior: str) -> str:
    """The metrics of a trial list, with minDCF at one of the priors that they name."""
    eer, low, high = (100 * metrics[key] for key in ("eer", "eer_low", "eer_high"))
    return (
        f"{name}: {metrics['trials']} trials, EER {eer:.2f} % [{low:.2f}, {high:.2f}], "
        f"minDCF({prior}) {metrics['min_dcf'][prior]['value']:.3f}, Cllr {metrics['cllr']['value']:.3g}"
    )


def paired_line(row: Mapping[str, Any], prior: str) -> str:
    """A row of the table of paired tests, where minDCF is at `prior`."""
    eer, low, high = (100 * row[key] for key in ("difference", "low", "high"))
    cost, least, most = (row[f"min_dcf_{key}"] for key in ("difference", "low", "high"))
    eer_p, cost_p = (
        f"p {row[f'{rate}p_value']:.2g} (Holm {row[f'{rate}p_holm']:.2g})" for rate in ("", "min_dcf_")
    )
    return (
        f"{row['system']} - {row['baseline']}: EER {eer:+.2f} points [{low:.2f}, {high:.2f}], {eer_p}; "
        f"minDCF({prior}) {cost:+.3f} [{least:.3f}, {most:.3f}], {cost_p}"
    )
