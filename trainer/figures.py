"""Pictures of a training run, as matplotlib figures that no screen is needed for."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from trainer.history import History

CURVE_SIZE = (8.0, 3.0)  # inches
DPI = 110


def learning_curves(history: History, best_epoch: int) -> Figure:
    """Draw loss and accuracy over epochs; a line marks the epoch kept."""
    figure = Figure(figsize=CURVE_SIZE, layout="constrained")
    epochs = [int(entry["epoch"]) for entry in history]
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        axes.plot(epochs, [entry[metric] for entry in history], label="training")
        axes.plot(epochs, [entry[f"val_{metric}"] for entry in history], label="validation")
        axes.axvline(best_epoch, color="0.6", linestyle=":", label="kept")
        axes.set(title=metric, xlabel="epoch")
        axes.legend(frameon=False)
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
