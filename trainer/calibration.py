"""Whether a network is right as often as it says (Guo et al. 2017, arXiv:1706.04599)."""

from dataclasses import dataclass

import numpy as np

from trainer.bootstrap import Interval
from trainer.evaluate_config import EvaluateConfig

HONEST = 0.005  # an error that nobody acts on
MOSTLY = 0.8  # share of the error that goes one way


@dataclass(frozen=True)
class Bin:
    """The answers whose confidence lies in (low, high]; their means are 0 where there are none."""

    low: float
    high: float
    count: int
    confidence: float  # mean probability of the guessed class
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """The reliability diagram's numbers and their summary."""

    error: float  # expected calibration error: mean |accuracy - confidence|, weighted by count
    bins: list[Bin]

    @property
    def overconfidence(self) -> float:
        """Give mean confidence less accuracy: above 0, the network promises too much.

        It may be 0 where the error is not: too sure here, and too little there.
        """
        total = sum(b.count for b in self.bins)
        return sum(b.count * (b.confidence - b.accuracy) for b in self.bins) / total

    def tendency(self, interval: Interval) -> str:
        """Say in words what the error means, given where it may lie."""
        if interval.low < HONEST:
            return "as sure as it is right, as far as so many examples tell"
        if abs(self.overconfidence) < MOSTLY * self.error:
            return "too sure here, too little there"
        return "too sure of itself" if self.overconfidence > 0 else "more often right than sure"


@dataclass(frozen=True)
class Gaps:
    """How far each answer is from what was promised, in its bin of confidence."""

    confidence: np.ndarray  # float64 [N], 0..1
    hits: np.ndarray  # bool [N]
    place: np.ndarray  # int64 [N]: the bin
    bins: int

    @classmethod
    def of(cls, confidence: np.ndarray, hits: np.ndarray, bins: int) -> "Gaps":
        """Sort guesses into equal bins of confidence."""
        return cls(confidence, hits, _place(confidence, bins), bins)

    def error(self, rows: np.ndarray) -> float:
        """Give the expected calibration error of some rows, int64 [M]."""
        return self._error(self.place[rows], (self.confidence - self.hits)[rows])

    def interval(self, drawn: Interval, config: EvaluateConfig) -> Interval:
        """Give where the error lies, of the percentiles of it over rows that were drawn again.

        An error is never negative, and noise only adds to it (Kumar et al. 2019, "Verified
        uncertainty calibration"): the rows' own noise is in the value, and once more in what is
        drawn. So the ends are reflected about the value; and the lower one is 0 where an honest
        network with the same confidences would show as much error by chance (Broecker and Smith
        2007, "Increasing the reliability of reliability diagrams").
        """
        value = self.error(np.arange(len(self.hits)))
        low = 0.0 if value <= self._chance(config) else max(0.0, 2 * value - drawn.high)
        return Interval(low, max(value, 2 * value - drawn.low))

    def _chance(self, config: EvaluateConfig) -> float:
        random = np.random.default_rng(config.seed)
        errors = [
            self._error(
                self.place, self.confidence - (random.random(len(self.hits)) < self.confidence)
            )
            for _ in range(config.resamples)
        ]
        return float(np.quantile(errors, (1 + config.confidence) / 2))

    def _error(self, place: np.ndarray, excess: np.ndarray) -> float:
        sums = np.bincount(place, excess, minlength=self.bins)
        return float(np.abs(sums).sum() / len(place))


def calibrate(confidence: np.ndarray, hits: np.ndarray, bins: int) -> Calibration:
    """Sort guesses into equal bins of confidence (float [N], 0..1) and compare with hits (bool)."""
    edges, place = np.linspace(0, 1, bins + 1), _place(confidence, bins)
    found = [
        _bin(edges[i], edges[i + 1], confidence[place == i], hits[place == i]) for i in range(bins)
    ]
    gaps = [b.count * abs(b.accuracy - b.confidence) for b in found]
    return Calibration(sum(gaps) / len(hits), found)


def _place(confidence: np.ndarray, bins: int) -> np.ndarray:
    edges = np.linspace(0, 1, bins + 1)
    return np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)


def _bin(low: float, high: float, confidence: np.ndarray, hits: np.ndarray) -> Bin:
    count = len(hits)
    if not count:
        return Bin(float(low), float(high), 0, 0.0, 0.0)
    return Bin(float(low), float(high), count, float(confidence.mean()), float(hits.mean()))
