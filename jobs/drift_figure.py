"""A picture of drift: what was tested beside what was served."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jobs.drift import Histogram, Shift

SHOWN = 24  # bins; of more classes those are drawn that have moved most
TESTED, SERVED = "#9aa5b1", "#0072b2"


def draw(title: str, shifts: Sequence[Shift]) -> Figure:
    """Draw each distribution as shares of the answers, tested and served side by side."""
    figure = Figure(figsize=(9.0, 3.2 * len(shifts) + 0.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    for axes, shift in zip(
        figure.subplots(len(shifts), squeeze=False).ravel(), shifts, strict=True
    ):
        names, tested, served = _shares(shift.histogram)
        places = np.arange(len(names))
        axes.bar(places - 0.2, tested, 0.4, color=TESTED, label="test split")
        axes.bar(places + 0.2, served, 0.4, color=SERVED, label="served")
        verdict = "within" if shift.ok else "ABOVE"
        axes.set_title(
            f"{shift.histogram.name}: PSI {shift.psi:.3f}, {verdict} its limit {shift.limit:.3f}",
            loc="left",
            fontsize=10.5,
        )
        turned = max(map(len, names)) * len(names) > 80
        axes.set_xticks(
            places, names, rotation=45 if turned else 0, ha="right" if turned else "center"
        )
        axes.set_ylabel("share of answers")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def _shares(histogram: Histogram) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Give the bins to draw and their shares on each side."""
    tested, served = (
        np.asarray(side) / max(sum(side), 1) for side in (histogram.tested, histogram.served)
    )
    moved = np.argsort(-np.abs(tested - served), kind="stable")[:SHOWN]
    shown = np.sort(moved)
    return [histogram.bins[i] for i in shown], tested[shown], served[shown]
