from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from trainer.bootstrap import intervals, proportion
from trainer.evaluate_config import EvaluateConfig

MANY = EvaluateConfig(resamples=5000)


def test_a_share_s_interval_is_about_the_normal_one():
    hits = np.arange(1000) < 900
    interval = proportion(hits, MANY)
    expected = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    assert interval.low == pytest.approx(0.9 - expected, abs=0.003)
    assert interval.high == pytest.approx(0.9 + expected, abs=0.003)


@pytest.mark.parametrize("count", [1, 20, 360])
def test_no_mistake_is_no_proof_of_perfection(count):
    exact = stats.binomtest(count, count).proportion_ci(0.95, method="exact")
    interval = proportion(np.ones(count, bool), EvaluateConfig())
    assert interval.low == pytest.approx(exact.low)
    assert interval.high == 1.0
    mirrored = proportion(np.zeros(count, bool), EvaluateConfig())
    assert mirrored.low == 0.0
    assert mirrored.high == pytest.approx(1 - exact.low)


def mean_of(values: np.ndarray) -> Callable[[np.ndarray], dict[str, float]]:
    return lambda rows: {"mean": float(values[rows].mean())}


def test_a_mean_s_interval_holds_the_truth_as_often_as_its_level_says():
    random = np.random.default_rng(0)
    config = EvaluateConfig(confidence=0.9, resamples=300)
    held = 0
    for _ in range(300):
        values = random.exponential(size=100)  # skewed, mean 1
        found = intervals(mean_of(values), 100, config)
        held += found["mean"].low < 1 < found["mean"].high
    assert 0.82 < held / 300 < 0.95  # 0.9 less what 100 skewed values and 300 trials allow


def test_drawing_rows_and_drawing_hits_come_to_the_same():
    hits = np.arange(200) % 5 > 0
    by_rows = intervals(lambda rows: {"share": float(hits[rows].mean())}, 200, MANY)["share"]
    by_hits = proportion(hits, MANY)
    assert by_hits.low == pytest.approx(by_rows.low, abs=0.006)
    assert by_hits.high == pytest.approx(by_rows.high, abs=0.006)
