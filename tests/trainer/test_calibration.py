import numpy as np
import pytest

from trainer.calibration import calibrate


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


@pytest.mark.parametrize(("value", "high"), [(0.0, 0.1), (0.25, 0.3), (0.5, 0.5), (1.0, 1.0)])
def test_a_bin_holds_its_upper_edge(value, high):
    """Guo et al. 2017, equation 2: a bin is ((m-1)/M, m/M]; the lowest one holds 0 as well."""
    result = calibrate(np.array([value]), np.array([True]), bins=10)
    assert [b.high for b in result.bins if b.count] == pytest.approx([high])
    assert len(result.bins) == 10
