"""Which classes are taken for which."""

import io
from html import escape

import numpy as np
from PIL import Image

from trainer import page
from trainer.evaluate import Evaluation
from trainer.page import Section

MOST_CELLS = 16  # classes; a larger matrix is drawn, since nobody reads it cell by cell
MOST_PAIRS = 15
BLUE, RED, WHITE = np.array((10, 94, 168)), np.array((213, 94, 0)), np.array((255, 255, 255))
SHORT = 3  # characters: longer names stand upright at the head of their column


def confusion(evaluation: Evaluation) -> Section:
    """Give the matrix, or for many classes its picture and the pairs that are confused most."""
    names = [score.label for score in evaluation.per_class]
    counts = np.array(evaluation.confusion)
    if len(names) <= MOST_CELLS:
        note = "A row for each true class, a column for each answer. Mistakes are orange."
        return Section("Confusion matrix", _cells(names, counts), note)
    note = (
        f"{len(names)} classes, from the upper left to the lower right; a row for each true class, "
        "a column for each answer. The evaluation's file has the counts."
    )
    return Section("Confusion matrix", _picture(counts) + _pairs(names, counts), note)


def _cells(names: list[str], counts: np.ndarray) -> str:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    upright = any(len(name) > SHORT for name in names)
    heads = "".join(f"<th>{_head(name, upright)}</th>" for name in names)
    rows = [
        f'<tr><th title="{escape(name)}">{escape(name)}</th>'
        + "".join(_cell(counts[i, j], shares[i, j], i == j) for j in range(len(names)))
        + "</tr>"
        for i, name in enumerate(names)
    ]
    widest = max(len(name) for name in names)
    first = f'<col style="width:{min(1.5 + 0.55 * widest, 7):.1f}em">'
    return (
        f'<div class="scroll"><table class="matrix"><colgroup>{first}</colgroup>'
        f"<thead><tr><th></th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _head(name: str, upright: bool) -> str:
    return f"<span>{escape(name)}</span>" if upright else escape(name)


def _cell(count: int, share: float, hit: bool) -> str:
    if not count:
        return "<td></td>"
    kind = ("hit strong" if share > 0.5 else "hit") if hit else "miss"
    return f'<td class="{kind}" style="--share:{share:.2f}">{count}</td>'


def _picture(counts: np.ndarray) -> str:
    """Give a pixel per cell: blue on the diagonal, orange off it, by the share of the row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    depth = np.sqrt(shares)[..., None]  # a mistake in a hundred must still be seen
    hue = np.where(np.eye(len(counts), dtype=bool)[..., None], BLUE, RED)
    pixels = np.rint(WHITE * (1 - depth) + hue * depth).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    source = page.data_uri(buffer.getvalue(), "png")
    return f'<img class="heat" alt="confusion matrix of {len(counts)} classes" src="{source}">'


def _pairs(names: list[str], counts: np.ndarray) -> str:
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    rows = [
        [page.cell(names[i]), page.cell(names[j]), page.bar(f"{wrong[i, j]}", wrong[i, j] / total)]
        for i, j in zip(*np.unravel_index(worst, counts.shape), strict=True)
        if wrong[i, j] and (total := counts[i].sum())
    ]
    return page.rich_table(("most confused: is", "taken for", "times"), rows) if rows else ""
