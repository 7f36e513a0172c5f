"""Pictures of training runs, as matplotlib figures that no screen is needed for.

Charts are drawn as wide as a phone shows them, so that their text stays as large as the page's.
"""

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trainer.calibration import Calibration
from trainer.history import History
from trainer.rate_sweep import RateSweep

CHART_SIZE = (4.5, 2.9)  # inches
DPI = 110
INK, QUIET, GRID = "#1b2430", "#5b6776", "#e3e7ec"
# Okabe and Ito's colours, told apart by the colour blind too; the yellow is too pale for lines.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DASHES = ("-", "--", "-.", ":")
TEXT = {
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": GRID,
    "axes.titlesize": 11.5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "svg.hashsalt": "convoy",  # the same run gives the same page
}


def learning_curve(history: History, metric: str, best_epoch: int) -> Figure:
    """Draw a metric of training and validation over epochs; a line marks the epoch kept."""
    figure, axes = _chart(metric, "epoch")
    epochs = [entry["epoch"] for entry in history]
    mark = "o" if len(history) == 1 else None  # one point draws no line
    for name, key, color in (
        ("training", metric, COLORS[0]),
        ("validation", f"val_{metric}", COLORS[1]),
    ):
        axes.plot(epochs, [entry[key] for entry in history], color=color, label=name, marker=mark)
    axes.axvline(best_epoch, color=QUIET, linestyle=":", linewidth=1.2, label="epoch kept")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(axes, columns=3)
    return figure


def rate_curve(history: History) -> Figure:
    """Draw the learning rate over epochs."""
    figure, axes = _chart("learning rate", "epoch")
    rates = [entry["learning_rate"] for entry in history]
    axes.plot([entry["epoch"] for entry in history], rates, color=COLORS[0])
    if min(rates) > 0 and max(rates) > 20 * min(rates):
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure


def sweep_curve(sweep: RateSweep) -> Figure:
    """Draw the losses of a sweep over the rate, and mark the rate that it suggests."""
    figure, axes = _chart("training loss", "learning rate")
    axes.plot(sweep.rates, sweep.losses, ".", color=QUIET, alpha=0.35, label="each step")
    axes.plot(sweep.rates, sweep.smoothed, color=COLORS[0], label="smoothed")
    if (suggestion := sweep.suggestion) is not None:
        axes.axvline(
            suggestion, color=COLORS[1], linestyle=":", label=f"suggestion {suggestion:.1e}"
        )
    axes.set_xscale("log")
    low, high = min(sweep.smoothed), max(sweep.smoothed[: len(sweep.smoothed) // 2 + 1])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))  # not up to the blow-up
    _legend(axes, columns=3)
    return figure


def overlaid_curves(histories: Mapping[str, History], metric: str) -> Figure:
    """Draw one metric of several runs over epochs, named by the mapping's keys."""
    figure, axes = _chart(metric, "epoch")
    for number, (name, history) in enumerate(histories.items()):
        axes.plot(
            [entry["epoch"] for entry in history],
            [entry[metric] for entry in history],
            color=COLORS[number % len(COLORS)],
            linestyle=DASHES[number % len(DASHES)],
            label=name,
            marker="o" if len(history) == 1 else None,
        )
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _legend(axes, columns=3)
    return figure


def reliability_diagram(calibration: Calibration) -> Figure:
    """Draw accuracy over confidence, and below it how many answers each bin has."""
    with mpl.rc_context(TEXT):
        figure = Figure(figsize=(CHART_SIZE[0], 4.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    filled = [b for b in calibration.bins if b.count]
    width = calibration.bins[0].high - calibration.bins[0].low
    middles = [(b.low + b.high) / 2 for b in filled]
    heights, sure = [b.accuracy for b in filled], [b.confidence for b in filled]
    upper.bar(middles, heights, 0.9 * width, color=COLORS[0], label="accuracy")
    upper.scatter(sure, sure, marker="D", s=26, color=COLORS[1], label="confidence", zorder=3)
    upper.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1.2)
    upper.set_ylim(0, 1.02)
    lower.bar(middles, [b.count for b in filled], 0.9 * width, color=QUIET)
    for axes in (upper, lower):
        _plain(axes)
    upper.yaxis.set_major_formatter(PercentFormatter(1, 0))
    lower.xaxis.set_major_formatter(PercentFormatter(1, 0))
    lower.set(xlim=(0, 1), xlabel="confidence", ylabel="answers")
    lower.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    _legend(upper, columns=2)
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


def svg(figure: Figure) -> bytes:
    """Render a figure as SVG without a background; letters are shapes, so no font is missed."""
    buffer = io.BytesIO()
    with mpl.rc_context(TEXT):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _chart(title: str, x: str) -> tuple[Figure, Axes]:
    with mpl.rc_context(TEXT):
        figure = Figure(figsize=CHART_SIZE, layout="constrained")
        axes = figure.subplots()
        axes.set_title(title, loc="left", pad=26, fontweight="bold")
        axes.set_xlabel(x)
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    """Take away what carries no number."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, frameon=False,
        borderaxespad=0.1, borderpad=0.2, handlelength=1.6, columnspacing=1.2,
        labelcolor=INK, fontsize=9.5,
    )  # fmt: skip
