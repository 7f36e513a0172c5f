import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from trainer.evaluate import Predictions, score
from trainer.evaluate_config import EvaluateConfig

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


@pytest.mark.parametrize("top_k", [3, 5])
def test_among_all_classes_every_label_is_and_nothing_is_said(top_k):
    result = score(Predictions(PROBABILITIES, LABELS), NAMES, top_k=top_k)
    assert result.top_k_accuracy is None
    assert set(result.metrics()) == {
        "accuracy", "loss", "macro_f1", "weighted_f1", "calibration_error",
    }  # fmt: skip


@pytest.mark.parametrize("top_k", [2, 3, 5])
def test_of_equal_answers_the_first_is_the_best_as_for_accuracy(top_k):
    random = np.random.default_rng(top_k)
    coarse = random.integers(1, 4, (200, 6)).astype(np.float32)  # ties in nearly every row
    coarse[:20] = 1  # a network that has collapsed
    answers = Predictions(coarse / coarse.sum(axis=1, keepdims=True), random.integers(0, 6, 200))
    result = score(answers, tuple("abcdef"), top_k=top_k)
    order = np.argsort(-coarse, axis=1, kind="stable")[:, :top_k]
    expected = (order == answers.labels[:, None]).any(axis=1).mean()
    assert result.top_k_accuracy == pytest.approx(expected)
    assert result.metrics()[f"top_{top_k}_accuracy"] >= result.accuracy


def test_only_the_confusions_that_happened_are_written():
    told = score(Predictions(PROBABILITIES, LABELS), NAMES).to_json()
    assert told["confusion"] == [[0, 0, 1], [0, 2, 1], [1, 0, 1], [1, 1, 1]]
    assert [entry["answers"] for entry in told["per_class"]] == [2, 1, 1]
    many = 1200
    sure = np.eye(many, dtype=np.float32)
    told = score(Predictions(sure, np.arange(many)), tuple(map(str, range(many)))).to_json()
    assert len(told["confusion"]) == many
    assert len(json.dumps(told, indent=2)) < 500_000


def test_certain_and_wrong_answers_give_a_finite_loss():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    result = score(Predictions(certain, np.array([1, 1])), ("a", "b"))
    assert np.isfinite(result.loss)
    assert result.accuracy == 0.5


def wide(seed: int, count: int = 500, num_classes: int = 7) -> Predictions:
    """Answers that are right about half of the time; the last class has no example."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes - 1, count)
    logits = random.normal(size=(count, num_classes)) + 2.0 * np.eye(num_classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(probabilities.astype(np.float32), labels)


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_f1_is_scikit_learn_s(average):
    predictions = wide(seed=1)
    guesses = predictions.probabilities.argmax(axis=1)
    result = score(predictions, tuple("abcdefg"))
    expected = f1_score(predictions.labels, guesses, average=average)
    assert result.metrics()[f"{average}_f1"] == pytest.approx(expected)


def test_an_interval_holds_its_score_and_narrows_with_more_examples():
    few, many = (score(wide(seed=2, count=n), tuple("abcdefg")) for n in (100, 1600))
    for name in ("accuracy", "loss", "macro_f1", "weighted_f1"):
        widths = []
        for result in (few, many):
            interval = result.intervals[name]
            assert interval.low < result.metrics()[name] < interval.high
            widths.append(interval.high - interval.low)
        assert 0.15 < widths[1] / widths[0] < 0.4  # 1 / sqrt(16)


def test_scores_are_the_same_at_every_call_and_wider_at_a_higher_level():
    predictions, names = wide(seed=3), tuple("abcdefg")
    once, again = score(predictions, names), score(predictions, names)
    assert once == again
    wider = score(predictions, names, config=EvaluateConfig(confidence=0.99))
    assert wider.confidence == 0.99
    assert wider.intervals["accuracy"].low < once.intervals["accuracy"].low


def test_slices_are_scored_by_the_values_of_a_column():
    metadata = {"device": np.array(["phone", "phone", "", "scanner"])}
    predictions = Predictions(PROBABILITIES, LABELS, metadata)
    result = score(predictions, NAMES, config=EvaluateConfig(slices=("device",)))
    found = {s.value: (s.column, s.count, s.accuracy) for s in result.slices}
    assert found == {
        "phone": ("device", 2, 1.0),
        "(empty)": ("device", 1, 0.0),
        "scanner": ("device", 1, 0.0),
    }
    assert result.slices[0].value == "phone"  # the most frequent comes first
    assert result.slices[0].loss == pytest.approx(-np.mean(np.log([0.7, 0.8])), abs=1e-6)


def test_rare_values_of_a_column_are_scored_together():
    predictions = wide(seed=4)
    column = np.array([f"{min(i, 30)}" for i in range(500)])  # thirty values once, one 470 times
    sliced = Predictions(predictions.probabilities, predictions.labels, {"site": column})
    result = score(sliced, tuple("abcdefg"), config=EvaluateConfig(slices=("site",)))
    assert len(result.slices) == 20
    assert (result.slices[0].value, result.slices[0].count) == ("30", 470)
    assert (result.slices[-1].value, result.slices[-1].count) == ("(all others)", 12)
    assert sum(s.count * s.accuracy for s in result.slices) == pytest.approx(500 * result.accuracy)


@pytest.mark.parametrize(
    ("metadata", "allowed"),
    [({}, "none, for this source has no metadata"), ({"site": np.array(list("abcd"))}, "site")],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(metadata, allowed):
    predictions = Predictions(PROBABILITIES, LABELS, metadata)
    with pytest.raises(ValueError, match=f"no metadata column device. Allowed: {allowed}"):
        score(predictions, NAMES, config=EvaluateConfig(slices=("device",)))
