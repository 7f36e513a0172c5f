import numpy as np
import pytest

from trainer.evaluate import Predictions, score

NAMES = ("a", "b", "c")
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]], np.float32
)
LABELS = np.array([0, 1, 1, 0])  # the third is taken for a, the fourth for c


def test_scores_are_those_of_their_definitions():
    result = score(Predictions(PROBABILITIES, LABELS), NAMES, top_k=2)
    assert result.accuracy == 0.5
    assert result.loss == pytest.approx(-np.mean(np.log([0.7, 0.8, 0.3, 0.2])), abs=1e-6)
    assert result.top_k_accuracy == 0.75  # the fourth label is only its third guess
    assert result.confusion == [[1, 0, 1], [1, 1, 0], [0, 0, 0]]
    a, b, c = result.per_class
    assert (a.precision, a.recall, a.f1, a.support) == (0.5, 0.5, 0.5, 2)
    assert (b.precision, b.recall, b.support) == (1.0, 0.5, 2)
    assert (c.precision, c.recall, c.f1, c.support) == (0.0, 0.0, 0.0, 0)


def test_top_k_never_exceeds_the_number_of_classes():
    result = score(Predictions(PROBABILITIES, LABELS), NAMES, top_k=5)
    assert result.metrics() == {
        "accuracy": 0.5,
        "loss": pytest.approx(result.loss),
        "top_3_accuracy": 1.0,
    }


def test_certain_and_wrong_answers_give_a_finite_loss():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    result = score(Predictions(certain, np.array([1, 1])), ("a", "b"))
    assert np.isfinite(result.loss)
    assert result.accuracy == 0.5
