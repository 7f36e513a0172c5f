"""The HTML of a page that needs no other file."""

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from trainer import figures

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; color: #222 }
img { max-width: 100%; height: auto }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
.gallery { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0 }
figure { margin: 0; width: 8rem; overflow-wrap: anywhere }
figure img { width: 100%; image-rendering: pixelated }
figcaption { font-size: .8rem; line-height: 1.3 }
"""  # noqa: E501  # a rule of CSS is one line

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Give a whole page."""
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(parts))


def section(title: str, *contents: str) -> str:
    """Give a heading and what stands under it."""
    return "\n".join([f"<h2>{escape(title)}</h2>", *contents])


def paragraph(text: str) -> str:
    """Give a paragraph of plain text; its line breaks are kept."""
    return "<p>" + "<br>".join(escape(line) for line in text.splitlines()) + "</p>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Give a table that scrolls inside itself where the page is narrower."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def shaded(head: Sequence[str], counts: np.ndarray) -> str:
    """Give a square table of counts, each cell as dark as its share of the row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        f"<tr><th>{escape(name)}</th>" + "".join(map(_shade, row, row_shares)) + "</tr>"
        for name, row, row_shares in zip(head, counts, shares, strict=True)
    ]
    lines = [_row("th", ["true \\ predicted", *head]), *rows]
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def picture(figure: Figure, description: str) -> str:
    """Give a figure as an image inside the page."""
    return f'<img alt="{escape(description)}" src="{_data_uri(figures.png(figure))}">'


def gallery(images: Iterable[np.ndarray], captions: Sequence[str]) -> str:
    """Give images [H, W, C], each stretched to its own range of values, with a caption each."""
    cells = [
        f'<figure><img alt="{escape(caption)}" src="{_data_uri(_png(image))}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for image, caption in zip(images, captions, strict=True)
    ]
    return '<div class="gallery">' + "\n".join(cells) + "</div>"


def _shade(count: int, share: float) -> str:
    color = "#fff" if share > 0.5 else "#222"
    style = f"background: rgba(8, 81, 156, {share:.2f}); color: {color}; text-align: center"
    return f'<td style="{style}">{count or ""}</td>'


def _png(image: np.ndarray) -> bytes:
    values = image.astype(np.float64) - image.min()
    pixels = (values * (255 / max(values.max(), 1e-9))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _row(cell: str, texts: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{cell}>{escape(text)}</{cell}>" for text in texts) + "</tr>"
