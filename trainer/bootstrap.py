"""Confidence intervals by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.evaluate_config import EvaluateConfig

Statistics = Callable[[np.ndarray], dict[str, float]]  # of the rows int64 [N] that were drawn


@dataclass(frozen=True)
class Interval:
    """Where a score would lie for another test split of the same size, at the level asked for."""

    low: float
    high: float


def proportion(hits: np.ndarray, config: EvaluateConfig) -> Interval:
    """Give the interval of a share of hits, bool [N] with N > 0.

    Where all or none hit, every sample would be the same; the open end is then the exact one of
    Clopper and Pearson (1934), so that 20 hits of 20 do not pass for certainty.
    """
    count, share = len(hits), float(hits.mean())
    random = np.random.default_rng(config.seed)
    # N draws of hit or miss with this share: what drawing N of the rows comes to
    low, high = _ends(random.binomial(count, share, config.resamples) / count, config)
    tail = (1 - config.confidence) / 2
    if share == 1:
        return Interval(tail ** (1 / count), 1.0)
    if share == 0:
        return Interval(0.0, 1 - tail ** (1 / count))
    return Interval(low, high)


def intervals(statistics: Statistics, count: int, config: EvaluateConfig) -> dict[str, Interval]:
    """Give the interval of every statistic over samples of `count` rows, drawn with replacement."""
    random = np.random.default_rng(config.seed)
    drawn = [statistics(random.integers(0, count, count)) for _ in range(config.resamples)]
    return {
        name: Interval(*_ends(np.array([sample[name] for sample in drawn]), config))
        for name in drawn[0]
    }


def _ends(values: np.ndarray, config: EvaluateConfig) -> tuple[float, float]:
    tail = (1 - config.confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return float(low), float(high)
