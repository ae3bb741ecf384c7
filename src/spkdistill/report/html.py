"""HTML from nested calls: text is escaped always, markup never twice."""

from html import escape


class Markup(str):
    """Text that is HTML already; any other string is escaped when it enters an element."""


def element(name: str, *children: object, **attributes: object) -> Markup:
    """An element: in `element("td", "a < b", cls="name", data_key=1)` `cls` is class; None is left out."""
    names = {key: "class" if key == "cls" else key.replace("_", "-") for key in attributes}
    written = "".join(
        f' {names[key]}="{escape(str(value))}"' for key, value in attributes.items() if value is not None
    )
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: object) -> Markup:
    """Children one after the other; strings that are not markup are escaped, None is nothing."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child))
            for child in children
            if child is not None
        )
    )


def table(header: list[Markup], rows: list[Markup], cls: str = "") -> Markup:
    """A table that its header cells sort, in a box that scrolls sideways where the screen is narrow."""
    head = element("thead", element("tr", *header))
    return element("div", element("table", head, element("tbody", *rows), cls=cls or None), cls="wide")


def heading(text: object, title: str | None = None, cls: str | None = None) -> Markup:
    """A header cell."""
    return element("th", text, title=title, cls=cls, scope="col")


def cell(text: object, key: object = None, cls: str | None = None) -> Markup:
    """A cell; `key` is what it is sorted by, if that is not its text."""
    return element("td", text, data_key=key, cls=cls)


def number(text: object, key: float | str) -> Markup:
    """A right-aligned cell sorted by its number."""
    return cell(text, key, "number")


def details(summary: str, *children: object) -> Markup:
    """A block that opens on a click."""
    return element("details", element("summary", summary), *children)


def figure(image: Markup, caption: str) -> Markup:
    """A figure with its caption."""
    return element("figure", image, element("figcaption", caption))
