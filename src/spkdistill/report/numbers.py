"""Numbers as a person reads them."""

import re

MINUS = "\N{MINUS SIGN}"


def percent(share: float, digits: int = 2) -> str:
    """A share of 1 as "2.34 %"."""
    return f"{100 * share:.{digits}f} %"


def points(difference: float) -> str:
    """A difference of shares in percentage points with its sign, as "−0.11"."""
    text = f"{100 * difference:+.2f}"
    return text.replace("-", MINUS) if float(text) else "0.00"


def probability(p_value: float) -> str:
    """A p-value as "p = 0.03", never rounded to nought."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3g}"


def count(number: float) -> str:
    """A large number with three digits: "148 k", "4.22 M", "1.3 G"."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size * 0.9995:
            scaled = number / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f} {unit}"
    return f"{number:.0f}"


def unbroken(sentence: str) -> str:
    """A sentence whose numbers stay on a line with their units."""
    return re.sub(
        r"(?<=\d) (?=[%kMG]\b|%)|(?<=\bp) (?=[=<])|(?<=[=<]) (?=\d)", "\N{NO-BREAK SPACE}", sentence
    )
