"""Whether a model is still asked about what it was tested on, by its answers.

The population stability index compares two histograms: sum of (p - q) ln(p / q). Under no drift it
is about chi-square with bins - 1 degrees of freedom, times 1/n + 1/m for samples of n and m
(Yurdakul and Naranjo 2020, "Statistical properties of the population stability index"), so a limit
that few answers or many classes would break by chance is raised to what chance explains.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any

import numpy as np

from serving.traffic import Answers

CHANCE = 0.999  # quantile: one false alarm in a thousand comparisons
SMOOTHING = 0.5  # added to each bin, for those that one side never saw


@dataclass(frozen=True)
class Histogram:
    """Counts of the test split's answers and of those that were served, bin by bin."""

    name: str
    bins: Sequence[str]
    tested: Sequence[int]
    served: Sequence[int]


@dataclass(frozen=True)
class Shift:
    """How far a histogram has moved. `limit`: the threshold, or what chance explains if more."""

    histogram: Histogram
    psi: float
    limit: float

    @property
    def ok(self) -> bool:
        return self.psi <= self.limit

    def to_json(self) -> dict[str, Any]:
        """Give the shift with its histogram as plain JSON values."""
        measured = {"psi": round(self.psi, 4), "limit": round(self.limit, 4), "ok": self.ok}
        return {**asdict(self.histogram), **measured}


@dataclass(frozen=True)
class Reference:
    """What a version answered on its test split."""

    labels: Sequence[str]
    classes: Sequence[int]  # answers of each class
    edges: Sequence[float]  # of the bins of confidence, one more than there are bins
    confidences: Sequence[int]


@dataclass(frozen=True)
class Served:
    """Answers that were served by one version, counted."""

    requests: int
    class_ids: np.ndarray  # int64 [N]
    confidences: np.ndarray  # float64 [N]

    @property
    def examples(self) -> int:
        return len(self.class_ids)


def reference(card: dict[str, Any]) -> Reference:
    """Read a version's reference from its card.

    Raises ValueError when the model was not evaluated by convoy.
    """
    try:
        metrics = card["metrics"]
        bins = metrics["calibration"]["bins"]
        return Reference(
            labels=[score["label"] for score in metrics["per_class"]],
            classes=_answers(metrics),
            edges=[bins[0]["low"], *(b["high"] for b in bins)],
            confidences=[b["count"] for b in bins],
        )
    except (KeyError, IndexError, TypeError):
        raise ValueError(
            "its card has no evaluation with answers and a calibration: there is nothing to "
            "compare with. Publish a version by convoy run"
        ) from None


def _answers(metrics: dict[str, Any]) -> list[int]:
    """Count how often each class was answered; cards once had the whole confusion matrix."""
    if "confusion" in metrics:
        counted: list[int] = np.sum(metrics["confusion"], axis=0).tolist()
        return counted
    return [score["answers"] for score in metrics["per_class"]]


def collect(
    answers: Iterable[Answers], name: str, version: int, since: datetime | None = None
) -> Served:
    """Count what one version answered, from a moment on if one is given."""
    chosen = [
        a
        for a in answers
        if (a.model, a.version) == (name, version)
        and (since is None or (a.moment is not None and a.moment >= since))
    ]
    return Served(
        len(chosen),
        np.concatenate([a.class_ids for a in chosen] or [np.empty(0, np.int64)]),
        np.concatenate([a.confidences for a in chosen] or [np.empty(0)]),
    )


def compare(tested: Reference, served: Served, threshold: float) -> list[Shift]:
    """Measure how far classes and confidences have moved."""
    known = served.class_ids[(served.class_ids >= 0) & (served.class_ids < len(tested.labels))]
    classes = np.bincount(known, minlength=len(tested.labels))
    finite = served.confidences[np.isfinite(served.confidences)]
    place = np.digitize(finite, np.asarray(tested.edges[1:-1]), right=True)
    confidences = np.bincount(place, minlength=len(tested.confidences))
    edges = zip(tested.edges, tested.edges[1:], strict=False)
    names = [f"{low:.2f}-{high:.2f}" for low, high in edges]
    return [
        _shift(Histogram("classes", tested.labels, tested.classes, classes.tolist()), threshold),
        _shift(Histogram("confidence", names, tested.confidences, confidences.tolist()), threshold),
    ]


def psi(tested: Sequence[int], served: Sequence[int]) -> float:
    """Give the population stability index of two histograms of counts; 0 for equal shares."""
    counts = np.array([tested, served], np.float64)
    counts = counts[:, counts.any(axis=0)] + SMOOTHING  # bins that neither side saw say nothing
    p, q = counts / counts.sum(axis=1, keepdims=True)
    return float(((q - p) * np.log(q / p)).sum())


def chance(tested: Sequence[int], served: Sequence[int], quantile: float = CHANCE) -> float:
    """Give the index that samples of these sizes stay below by chance, with this probability."""
    bins = int(np.any([tested, served], axis=0).sum())
    if bins < 2:
        return 0.0
    return _chi_square(quantile, bins - 1) * (1 / sum(tested) + 1 / sum(served))


def _shift(histogram: Histogram, threshold: float) -> Shift:
    sides = (histogram.tested, histogram.served)
    return Shift(histogram, psi(*sides), max(threshold, chance(*sides)))


def _chi_square(quantile: float, freedom: int) -> float:
    """Give a quantile of the chi-square distribution, within 2 % (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + NormalDist().inv_cdf(quantile) * math.sqrt(spread)) ** 3
