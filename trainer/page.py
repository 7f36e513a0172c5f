"""The HTML of a page that needs no other file."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib import resources
from string import Template

import numpy as np
from matplotlib.figure import Figure

from trainer import figures, thumbnails

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$style</style>
</head>
<body>
$body
</body>
</html>
""")


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, a sentence that says how to read it, and HTML."""

    title: str
    html: str
    note: str = ""  # plain text


@dataclass(frozen=True)
class Shot:
    """A picture of an example and what is said of it."""

    image: np.ndarray  # uint8 [H, W, C]
    caption: str
    remark: str = ""


def page(title: str, header: str, sections: Iterable[Section]) -> str:
    """Give a whole page. `header` is HTML and brings the first heading."""
    body = "\n".join([f"<header>{header}</header>", *map(_section, sections)])
    return PAGE.substitute(title=escape(title), style=_style(), body=body)


def paragraph(text: str) -> str:
    """Give a paragraph of plain text; its line breaks are kept."""
    return "<p>" + "<br>".join(escape(line) for line in text.splitlines()) + "</p>"


def badge(text: str, kind: str = "") -> str:
    """Give a word that stands out; `kind` is good, fair, bad or nothing."""
    return f'<span class="badge {kind}">{escape(text)}</span>'


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Give names and their values, one below the other."""
    pairs = [f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows]
    return '<dl class="facts">' + "\n".join(pairs) + "</dl>"


def cards(rows: Sequence[tuple[str, str, str]]) -> str:
    """Give large numbers as (name, number, remark)."""
    cells = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(number)}<small>{escape(remark)}</small></dd></div>"
        for name, number, remark in rows
    ]
    return '<dl class="cards">' + "\n".join(cells) + "</dl>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table of plain text that scrolls inside itself where the page is narrower."""
    return rich_table(head, [[cell(text) for text in row] for row in rows])


def rich_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table of cells that `cell`, `bar`, `noted` and `whisker` made."""
    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    lines = "\n".join("<tr>" + "".join(row) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="wide"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def cell(text: str) -> str:
    """Give a cell of plain text."""
    return f"<td>{escape(text)}</td>"


def noted(text: str, remark: str = "") -> str:
    """Give a cell with a remark in small type below its text."""
    return f"<td>{escape(text)}<small>{escape(remark)}</small></td>"


def marked(text: str, kind: str) -> str:
    """Give a cell with a badge."""
    return f"<td>{badge(text, kind)}</td>"


def bar(text: str, share: float) -> str:
    """Give a cell whose text is underlined as far as its share of 1."""
    return f'<td class="bar number" style="--share:{share:.3f}">{escape(text)}</td>'


def whisker(low: float, value: float, high: float) -> str:
    """Give a cell that draws a value within its interval, all three 0..1 across the cell."""
    style = f"--low:{low:.1%};--at:{value:.1%};--high:{high:.1%}"
    return f'<td><div class="whisker" style="{style}"><i></i><b></b></div></td>'


def charts(drawn: Sequence[tuple[Figure, str]]) -> str:
    """Give figures with their descriptions, side by side where there is room."""
    images = [_chart(figure, text) for figure, text in drawn]
    return '<div class="charts">' + "\n".join(images) + "</div>"


def wide_chart(figure: Figure, text: str) -> str:
    """Give a figure in its own size; it scrolls inside itself where the page is narrower."""
    return f'<div class="scroll">{_chart(figure, text)}</div>'


def _chart(figure: Figure, text: str) -> str:
    source = data_uri(figures.svg(figure), "svg+xml")
    return f'<img class="chart" alt="{escape(text)}" src="{source}">'


def gallery(shots: Iterable[Shot]) -> str:
    """Give pictures with a caption each."""
    cells = [
        f"<figure>{picture(shot.image, f'{shot.caption} {shot.remark}'.strip())}"
        f"<figcaption>{escape(shot.caption)}<small>{escape(shot.remark)}</small></figcaption>"
        "</figure>"
        for shot in shots
    ]
    return '<div class="gallery">' + "\n".join(cells) + "</div>"


def pairs(before: np.ndarray, after: np.ndarray) -> str:
    """Give pictures uint8 [N, H, W, C] two by two."""
    cells = [
        f"<figure>{picture(one, f'training image {n}')}"
        f"{picture(other, f'training image {n} as augmented')}</figure>"
        for n, (one, other) in enumerate(zip(before, after, strict=True), start=1)
    ]
    return '<div class="gallery pairs">' + "\n".join(cells) + "</div>"


def picture(image: np.ndarray, description: str) -> str:
    """Give one picture uint8 [H, W, C]; coarse ones keep their pixels apart."""
    content, kind = thumbnails.encode(image)
    coarse = "coarse" if min(image.shape[:2]) < thumbnails.COARSE else ""
    source = data_uri(content, kind)
    return f'<img class="{coarse}" alt="{escape(description)}" src="{source}">'


def folded(title: str, html: str) -> str:
    """Give HTML that opens when its title is touched."""
    return f"<details><summary>{escape(title)}</summary>{html}</details>"


def code(text: str) -> str:
    """Give text as it stands, in a type of equal widths."""
    return f"<pre>{escape(text)}</pre>"


def data_uri(content: bytes, kind: str) -> str:
    """Give an image inside an address; `kind` is the second half of its media type."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode()


def _section(section: Section) -> str:
    note = f'<p class="quiet">{escape(section.note)}</p>' if section.note else ""
    return f"<section><h2>{escape(section.title)}</h2>{note}{section.html}</section>"


@cache
def _style() -> str:
    return (resources.files("trainer") / "page.css").read_text(encoding="utf-8")
