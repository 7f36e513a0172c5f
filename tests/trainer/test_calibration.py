import numpy as np
import pytest

from trainer.bootstrap import Interval
from trainer.calibration import calibrate
from trainer.evaluate import Predictions, score
from trainer.evaluate_config import EvaluateConfig


def test_the_error_is_the_weighted_gap_between_confidence_and_accuracy():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    hits = np.array([True, True, False, False, True, False])
    result = calibrate(confidence, hits, bins=10)
    assert result.error == pytest.approx((4 * 0.45 + 2 * 0.05) / 6)
    assert result.overconfidence == pytest.approx(0.95 * 4 / 6 + 0.55 * 2 / 6 - 0.5)
    filled = [b for b in result.bins if b.count]
    assert [b.low for b in filled] == pytest.approx([0.5, 0.9])
    assert [(b.count, b.accuracy) for b in filled] == [(2, 0.5), (4, 0.5)]


def test_a_network_that_knows_how_sure_it_is_has_next_to_no_error():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.3, 1.0, 100_000)
    honest = calibrate(confidence, random.random(100_000) < confidence, bins=15)
    boastful = calibrate(np.minimum(confidence + 0.2, 1), random.random(100_000) < confidence, 15)
    assert honest.error < 0.01
    assert boastful.error > 0.12
    assert boastful.overconfidence > 0.12 > abs(honest.overconfidence)


def judged(confidence: np.ndarray, hits: np.ndarray) -> tuple[str, Interval]:
    """What is said of a network whose guesses have such confidences, of two classes."""
    guessed = np.stack([confidence, 1 - confidence], axis=1).astype(np.float32)
    config = EvaluateConfig(resamples=300)
    result = score(Predictions(guessed, np.where(hits, 0, 1)), ("a", "b"), config=config)
    interval = result.intervals["calibration_error"]
    assert interval.low - 1e-9 <= result.calibration.error <= interval.high + 1e-9
    return result.calibration.tendency(interval), interval


@pytest.mark.parametrize("count", [50, 400, 5000])
def test_noise_is_not_taken_for_a_want_of_honesty(count):
    """Of ten honest networks nearly all are called so, however few examples there are."""
    random = np.random.default_rng(count + 1)
    said = []
    for _ in range(10):
        confidence = random.uniform(0.5, 1.0, count)
        said.append(judged(confidence, random.random(count) < confidence)[0])
    assert sum(text.startswith("as sure as it is right") for text in said) >= 9


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        (lambda p: p - 0.15, "too sure of itself"),
        (lambda p: np.minimum(p + 0.15, 1), "more often right than sure"),
        (lambda p: np.where(p > 0.75, p - 0.2, p + 0.2), "too sure here, too little there"),
    ],
)
def test_an_error_beyond_noise_is_named_by_its_direction(truth, expected):
    """The last one's mean confidence is its accuracy: the mean gap says nothing of the error."""
    random = np.random.default_rng(1)
    confidence = random.uniform(0.55, 0.95, 3000)
    said, interval = judged(confidence, random.random(3000) < truth(confidence))
    assert said == expected
    assert interval.low > 0.05


@pytest.mark.parametrize(("value", "high"), [(0.0, 0.1), (0.25, 0.3), (0.5, 0.5), (1.0, 1.0)])
def test_a_bin_holds_its_upper_edge(value, high):
    """Guo et al. 2017, equation 2: a bin is ((m-1)/M, m/M]; the lowest one holds 0 as well."""
    result = calibrate(np.array([value]), np.array([True]), bins=10)
    assert [b.high for b in result.bins if b.count] == pytest.approx([high])
    assert len(result.bins) == 10
