"""Whether a network is right as often as it says (Guo et al. 2017, arXiv:1706.04599)."""

from dataclasses import dataclass

import numpy as np


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
        """Give mean confidence less accuracy: above 0, the network promises too much."""
        total = sum(b.count for b in self.bins)
        return sum(b.count * (b.confidence - b.accuracy) for b in self.bins) / total


def calibrate(confidence: np.ndarray, hits: np.ndarray, bins: int) -> Calibration:
    """Sort guesses into equal bins of confidence (float [N], 0..1) and compare with bool hits [N].

    The error has no interval: resampling rows moves it upwards (Kumar et al. 2019).
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    found = [
        _bin(edges[i], edges[i + 1], confidence[place == i], hits[place == i]) for i in range(bins)
    ]
    gaps = [b.count * abs(b.accuracy - b.confidence) for b in found]
    return Calibration(sum(gaps) / len(hits), found)


def _bin(low: float, high: float, confidence: np.ndarray, hits: np.ndarray) -> Bin:
    count = len(hits)
    if not count:
        return Bin(float(low), float(high), 0, 0.0, 0.0)
    return Bin(float(low), float(high), count, float(confidence.mean()), float(hits.mean()))
