"""Pictures of a training run, as matplotlib figures that no screen is needed for."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from trainer.checkpoint import History
from trainer.evaluate import Evaluation

CURVE_SIZE = (8.0, 3.0)  # inches
DPI = 110
MOST_CLASSES_NAMED = 30  # tick labels of a larger confusion matrix would overlap


def learning_curves(history: History, best_epoch: int) -> Figure:
    """Draw loss and accuracy of training and validation over epochs.

    A line marks the epoch kept.
    """
    figure = Figure(figsize=CURVE_SIZE, layout="constrained")
    epochs = [int(entry["epoch"]) for entry in history]
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [entry[metric] for entry in history], label="training")
        axes.plot(epochs, [entry[f"val_{metric}"] for entry in history], label="validation")
        axes.axvline(best_epoch, color="0.6", linestyle=":", label="kept")
        axes.set(title=metric, xlabel="epoch")
        axes.legend(frameon=False)
    return figure


def confusion(evaluation: Evaluation) -> Figure:
    """Draw the confusion matrix, true classes down, shares of each true class as shades."""
    counts = np.array(evaluation.confusion)
    labels = [score.label for score in evaluation.per_class]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(4.0 + 0.3 * len(labels), 10.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    if len(labels) <= MOST_CLASSES_NAMED:
        axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column,
                row,
                str(count) if count else "",
                ha="center",
                va="center",
                color=color,
                size=8,
            )
    return figure


def gallery(images: Sequence[np.ndarray], captions: Sequence[str], columns: int = 6) -> Figure:
    """Draw images [H, W, C], each scaled to its own range of values, with a caption each."""
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.5 * columns, 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, caption in zip(grid, images, captions, strict=False):
        low, high = image.min(), image.max()
        axes.imshow((image - low) / max(high - low, 1e-9), cmap="gray")
        axes.set_title(caption, size=8)
    return figure


def png(figure: Figure) -> bytes:
    """Render a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def data_uri(figure: Figure) -> str:
    """Render a figure for an HTML page that needs no other file."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()
