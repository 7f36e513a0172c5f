"""Pictures of a search, as matplotlib figures that no screen is needed for."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuning.importance import as_numbers
from tuning.trial import Trial

AXIS_WIDTH, HEIGHT = 1.3, 4.2  # inches
MOST_LABELS = 6  # on a numeric axis
LOG_RATIO = 20  # from here between highest and lowest value, an axis is logarithmic


def parallel_coordinates(trials: Sequence[Trial], paths: Sequence[str], objective: str) -> Figure:
    """Draw one line per trial through its value on every axis, coloured by its score."""
    columns = [*([t.values.get(path) for t in trials] for path in paths), [t.score for t in trials]]
    names = [*short_names(paths), objective]
    figure = Figure(figsize=(AXIS_WIDTH * len(names) + 1.5, HEIGHT), layout="constrained")
    axes = figure.subplots()
    heights = [_draw_axis(axes, x, column) for x, column in enumerate(columns)]
    scores = np.array([trial.score for trial in trials], dtype=np.float64)
    scale = mpl.colors.Normalize(scores.min(), max(scores.max(), scores.min() + 1e-9))
    colors = mpl.colormaps["viridis"]
    for row in np.argsort(scores):
        line = [column[row] for column in heights]
        axes.plot(range(len(names)), line, color=colors(scale(scores[row])), linewidth=1.6)
    axes.set(xlim=(-0.1, len(names) - 0.4), ylim=(-0.05, 1.05), yticks=[])
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right")
    axes.spines[["left", "right", "top", "bottom"]].set_visible(False)
    figure.colorbar(mpl.cm.ScalarMappable(scale, colors), ax=axes, label=objective)
    return figure


def short_names(paths: Sequence[str]) -> list[str]:
    """Give the last parts of paths, or the whole paths where two would be alike."""
    names = [path.rpartition(".")[2] for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def bars(shares: Mapping[str, float]) -> Figure:
    """Draw one bar per dimension, the longest on top."""
    figure = Figure(figsize=(4.6, 0.8 + 0.34 * len(shares)), layout="constrained")
    axes = figure.subplots()
    paths = list(shares)[::-1]
    drawn = axes.barh(short_names(paths), [shares[path] for path in paths], color="0.45")
    axes.bar_label(drawn, [f"{shares[path]:.0%}" for path in paths], padding=4)
    axes.set(xlim=(0, 1.1), xticks=[])
    axes.spines[["right", "top", "bottom"]].set_visible(False)
    return figure


def _draw_axis(axes: Axes, x: int, values: Sequence[Any]) -> np.ndarray:
    """Draw a vertical axis with its labels; give the height 0..1 of every value."""
    numbers = as_numbers(values)
    present = [value for value in values if value is not None]
    numeric = bool(present) and all(type(value) in (int, float) for value in present)
    if numeric and min(present) > 0 and max(present) / min(present) >= LOG_RATIO:
        low = np.log10(min(present))
        absent = low - 0.1 * (np.log10(max(present)) - low)
        numbers = np.array([absent if v is None else np.log10(v) for v in values])
    span = max(numbers.max() - numbers.min(), 1e-9)
    heights = (numbers - numbers.min()) / span
    axes.axvline(x, color="0.8", linewidth=1, zorder=0)
    labels = dict(zip(heights, values, strict=True))
    chosen = sorted(labels)
    if len(chosen) > MOST_LABELS:
        chosen = [
            chosen[i] for i in np.linspace(0, len(chosen) - 1, MOST_LABELS).round().astype(int)
        ]
    for height in chosen:
        text = _label(labels[height])
        axes.text(
            x + 0.04,
            height,
            text,
            fontsize=8,
            va="center",
            color="0.25",
            zorder=3,
            bbox={
                "boxstyle": "square,pad=0.1",
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.7,
            },
        )
    return heights


def _label(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
