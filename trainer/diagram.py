"""A picture of a network's layers and how they are connected, drawn without graphviz."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import keras
from keras import layers
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

BOX = (2.9, 0.62)  # inches
STEP = (3.3, 1.0)  # inches from box to box
GAP = (STEP[1] - BOX[1]) / 2
LANE = 0.5  # inches, between columns
MARGIN = 0.2  # inches
ROWS = 36  # boxes on top of each other, before the drawing goes on to the right
MOST_INCHES = 400.0  # of a side: beyond, pictures have too many pixels for most viewers
DPI = 80
_COLOURS = {  # by what the first layer of a box does
    layers.InputLayer: "#e8e8e8",
    layers.Conv2D: "#cfe2f3",
    layers.DepthwiseConv2D: "#cfe2f3",
    layers.SeparableConv2D: "#cfe2f3",
    layers.Dense: "#fce5cd",
    layers.MaxPooling2D: "#d9ead3",
    layers.AveragePooling2D: "#d9ead3",
    layers.GlobalAveragePooling2D: "#d9ead3",
}


@dataclass
class Box:
    """A layer, and the layers that only refine its output: normalisation, activation, dropout."""

    layers: list[keras.Operation]
    parents: list["Box"] = field(default_factory=list)
    children: list["Box"] = field(default_factory=list)
    row: int = 0
    x: float = 0.0  # in box steps, 0 in the middle

    def text(self) -> str:
        """Return the box's lines: name, kinds of layers, shape and parameters."""
        first, last = self.layers[0], self.layers[-1]
        kinds = " · ".join(_kind(layer) for layer in self.layers)
        shape = "×".join(str(size) for size in _shape(last)[1:])
        parameters = sum(prod(w.shape) for layer in self.layers for w in _weights(layer))
        return f"{first.name}\n{kinds}\n{shape}" + (f"   {parameters:,}" if parameters else "")


@dataclass(frozen=True)
class Sheet:
    """Where boxes go: columns of rows, in inches from the upper left corner."""

    firsts: tuple[int, ...]  # row at the top of each column
    left: float  # the outermost boxes' x, in box steps
    right: float

    def center(self, box: Box) -> tuple[float, float]:
        """Return the middle of a box."""
        column = self.column(box)
        x = column * self.column_width + (box.x - self.left + 0.5) * STEP[0] + MARGIN
        return x, (box.row - self.firsts[column] + 0.5) * STEP[1] + MARGIN

    def column(self, box: Box) -> int:
        """Return the number of the box's column, 0 on the left."""
        return bisect_right(self.firsts, box.row) - 1

    @property
    def column_width(self) -> float:
        """Width of each column, with a lane on its right for the way to the next."""
        return (self.right - self.left + 1) * STEP[0] + LANE


def draw(model: keras.Model) -> Figure:
    """Draw the layers from top to bottom: name, kinds, output size, number of parameters.

    Layers that only refine their predecessor's output share its box. Drawings of more than `ROWS`
    rows go on in a further column to the right.
    """
    boxes = _boxes(model)
    _place(boxes)
    sheet = Sheet(tuple(_breaks(boxes)), min(box.x for box in boxes), max(box.x for box in boxes))
    width = len(sheet.firsts) * sheet.column_width + 2 * MARGIN
    height = max(sheet.center(box)[1] for box in boxes) + STEP[1] / 2 + MARGIN
    scale = min(1.0, MOST_INCHES / max(width, height))
    figure = Figure(figsize=(width * scale, height * scale), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for box in boxes:
        center = sheet.center(box)
        axes.add_patch(_frame(box, center))
        axes.text(*center, box.text(), ha="center", va="center", size=8.5 * scale, zorder=3)
        for parent in box.parents:
            axes.add_patch(_arrow(parent, box, sheet))
    return figure


def _boxes(model: keras.Model) -> list[Box]:
    box_of: dict[str, Box] = {}
    boxes: list[Box] = []
    followers = _followers(model)
    for step in model.operations:
        parents = [box_of[name] for name in _before(step)]
        if len(parents) == 1 and _refines(step) and followers[_before(step)[0]] == 1:
            parents[0].layers.append(step)
            box_of[step.name] = parents[0]
            continue
        box = Box([step], parents, row=1 + max((parent.row for parent in parents), default=-1))
        for parent in parents:
            parent.children.append(box)
        box_of[step.name] = box
        boxes.append(box)
    return boxes


def _place(boxes: list[Box]) -> None:
    """Put branches side by side below what they come from, and joins below their middle."""
    for box in boxes:
        if len(box.parents) > 1:
            box.x = sum(parent.x for parent in box.parents) / len(box.parents)
        elif box.parents:
            own = [child for child in box.parents[0].children if len(child.parents) == 1]
            box.x = box.parents[0].x + own.index(box) - (len(own) - 1) / 2
    for row in range(1 + max(box.row for box in boxes)):
        _spread(sorted((box for box in boxes if box.row == row), key=lambda box: box.x))


def _spread(row: list[Box]) -> None:
    """Move boxes of a row apart that would overlap."""
    for left, right in zip(row, row[1:], strict=False):
        right.x = max(right.x, left.x + 1)


def _breaks(boxes: list[Box]) -> Iterator[int]:
    """Yield the first row of each column: where the fewest connections are cut."""
    last = max(box.row for box in boxes)
    first = 0
    yield first
    while last - first >= ROWS:
        candidates = range(first + ROWS // 2, first + ROWS + 1)
        first = min(candidates, key=lambda row: (_connections(boxes, row), -row))
        yield first


def _connections(boxes: list[Box], row: int) -> int:
    """Count the boxes above `row` that have children in or below it."""
    return sum(box.row < row <= max((c.row for c in box.children), default=0) for box in boxes)


def _frame(box: Box, center: tuple[float, float]) -> FancyBboxPatch:
    colour = next((c for kind, c in _COLOURS.items() if isinstance(box.layers[0], kind)), "#ffffff")
    corner = (center[0] - BOX[0] / 2, center[1] - BOX[1] / 2)
    style = "round,pad=0,rounding_size=0.08"
    return FancyBboxPatch(corner, *BOX, boxstyle=style, fc=colour, ec="#888888", zorder=2)


def _arrow(parent: Box, box: Box, sheet: Sheet) -> FancyArrowPatch:
    """Draw the way from box to box, past those between."""
    look: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 9, "color": "#555555", "lw": 0.9}
    (x0, y0), (x1, y1) = sheet.center(parent), sheet.center(box)
    bottom, top = y0 + BOX[1] / 2, y1 - BOX[1] / 2
    if sheet.column(parent) != sheet.column(box):
        lane = x1 - (box.x - sheet.left + 0.5) * STEP[0] - LANE / 2
        corners = [(x0, bottom), (x0, bottom + GAP), (lane, bottom + GAP), (lane, top - GAP)]
        return FancyArrowPatch(path=Path([*corners, (x1, top - GAP), (x1, top)]), **look)
    if x0 == x1 and box.row > parent.row + 1:  # around what it skips
        x, bend = x0 + BOX[0] / 2, min(0.5, 1.0 / (y1 - y0))
        return FancyArrowPatch((x, y0), (x, y1), connectionstyle=f"arc3,rad=-{bend:.3f}", **look)
    above = y1 - STEP[1] + BOX[1] / 2  # straight down to the row above the child's
    return FancyArrowPatch(path=Path([(x0, bottom), (x0, above), (x1, top)]), **look)


def _followers(model: keras.Model) -> dict[str, int]:
    counts = {step.name: 0 for step in model.operations}
    for step in model.operations:
        for name in _before(step):
            counts[name] += 1
    return counts


def _before(step: keras.Operation) -> list[str]:
    return list(dict.fromkeys(_parents(step)))


def _parents(step: keras.Operation) -> Iterator[str]:
    for node in step._inbound_nodes:
        for parent in node.parent_nodes:
            yield parent.operation.name


def _refines(step: keras.Operation) -> bool:
    kinds = (layers.Activation, layers.ReLU, layers.BatchNormalization, layers.Dropout)
    return isinstance(step, kinds)


def _kind(step: keras.Operation) -> str:
    if isinstance(step, layers.Activation):
        return str(step.activation.__name__)
    if isinstance(step, layers.Conv2D):
        return f"{type(step).__name__} {'×'.join(map(str, step.kernel_size))}"
    return type(step).__name__.replace("BatchNormalization", "BatchNorm")


def _shape(step: keras.Operation) -> tuple[int | None, ...]:
    output = step.output[0] if isinstance(step.output, list) else step.output
    return tuple(output.shape)


def _weights(step: keras.Operation) -> list[keras.Variable]:
    return step.weights if isinstance(step, layers.Layer) else []
