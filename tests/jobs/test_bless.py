"""What blesses a model: floors, and no loss against the live one that chance does not explain."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from jobs.bless import Blessing, Export, changes, floors, incomparable, mcnemar
from jobs.live import Live
from jobs.release_config import BlessConfig
from trainer.evaluate import Predictions, score

NAMES = ("cat", "dog", "owl")
LABELS = np.arange(300) % 3


def answers(wrong: int, of_class: int | None = None) -> Predictions:
    """Predict the labels, but for the first `wrong` examples (of one class)."""
    guesses = LABELS.copy()
    candidates = np.arange(300) if of_class is None else np.flatnonzero(of_class == LABELS)
    guesses[candidates[:wrong]] = (guesses[candidates[:wrong]] + 1) % 3
    probabilities = np.full((300, 3), 0.05, np.float32)
    probabilities[np.arange(300), guesses] = 0.9
    return Predictions(probabilities, LABELS)


def live_with(predictions: Predictions, names: tuple[str, ...] = NAMES) -> Live:
    guesses = np.array(NAMES)[predictions.probabilities.argmax(axis=1)]
    return Live(7, names, guesses, seen=np.zeros(300, bool))


def verdict(predictions: Predictions, live: Live, **settings: float) -> Blessing:
    return Blessing(changes(predictions, NAMES, live, BlessConfig(**settings)), live.version)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (5, 0), (12, 4), (4, 12), (900, 880)])
def test_the_p_value_is_that_of_the_exact_binomial_test(lost, won):
    expected = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1
    assert mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_a_p_value_of_many_examples_is_found_at_once_and_is_no_more_than_one():
    assert mcnemar(0, 200_000) == pytest.approx(1)
    assert 0 < mcnemar(100_500, 99_500) < 0.02


def test_a_significant_loss_is_refused_and_its_numbers_are_told():
    blessing = verdict(answers(wrong=12), live_with(answers(wrong=2)))
    assert not blessing.blessed
    (reason,) = blessing.reasons()
    assert reason == (
        "mcnemar_p is 0.0010, below 0.05 "  # 2 ** -10
        "(of 300 test examples 10 only version 7 gets right, 0 only this model)"
    )


def test_a_loss_that_chance_explains_and_a_gain_are_blessed():
    assert verdict(answers(wrong=4), live_with(answers(wrong=1))).blessed
    assert verdict(answers(wrong=2), live_with(answers(wrong=40))).blessed


def test_a_class_that_falls_is_refused_though_the_others_make_up_for_it():
    old = answers(wrong=40, of_class=0)
    blessing = verdict(answers(wrong=15, of_class=2), live_with(old))
    (reason,) = blessing.reasons()
    assert reason == "class_fall is 0.1500, above 0.1 (class 'owl': 1.000 then, 0.850 now)"
    assert verdict(answers(15, of_class=2), live_with(old), max_class_fall=0.2).blessed


def test_classes_are_told_apart_by_name_whatever_their_order():
    shuffled = ("owl", "cat", "dog")
    assert verdict(answers(wrong=1), live_with(answers(wrong=1), shuffled)).blessed


def test_a_class_that_only_the_live_model_knows_is_a_loss_unless_allowed():
    live = live_with(answers(wrong=3), (*NAMES, "yak"))
    blessing = verdict(answers(wrong=0), live)
    assert blessing.reasons() == ["lost_classes is 1.0000, above 0 (version 7 knows yak)"]
    assert verdict(answers(wrong=0), live, max_lost_classes=1).blessed


def test_a_new_class_does_not_hide_a_loss_on_the_old_ones():
    """The live model cannot know the new class: its examples count for neither."""
    live = live_with(answers(wrong=100, of_class=2), ("cat", "dog"))
    blessing = verdict(answers(wrong=9, of_class=1), live)
    assert "of 200 test examples 9 only version 7 gets right" in blessing.reasons()[0]


def test_examples_that_the_live_model_was_trained_on_are_left_out_and_counted():
    """It gets them right for another reason than the new one."""
    seen = np.arange(300) < 12
    live = replace(live_with(answers(wrong=0)), seen=seen)
    blessing = verdict(answers(wrong=12), live)
    assert blessing.blessed
    (told,) = [rule.detail for rule in blessing.rules if rule.name == "mcnemar_p"]
    assert told == (
        "of 288 test examples 0 only version 7 gets right, 0 only this model; "
        "version 7 was trained on 12 more, left out"
    )


def test_a_live_model_that_was_trained_on_the_whole_test_is_not_compared_with():
    live = replace(live_with(answers(wrong=0)), seen=np.ones(300, bool))
    (reason,) = verdict(answers(wrong=0), live).reasons()
    assert "nothing is left to compare on: version 7 was trained on 300 more" in reason


def test_a_live_model_that_does_not_say_what_it_was_trained_on_is_doubted():
    live = replace(live_with(answers(wrong=2)), seen=None)
    (reason,) = verdict(answers(wrong=12), live).reasons()
    assert "10 only version 7 gets right" in reason
    assert "version 7 does not say what it was trained on" in reason


def test_floors_hold_scores_and_export_against_their_limits():
    predictions = answers(wrong=30, of_class=1)
    evaluation = score(predictions, NAMES)
    export = Export(latency_ms=12.5, size_mb=3.0)
    strict = BlessConfig(
        min_accuracy=0.95, min_class_recall=0.8, max_latency_ms=10, max_size_mb=2,
        max_calibration_error=0,
    )  # fmt: skip
    blessing = Blessing(floors(evaluation, export, strict))
    assert [rule.name for rule in blessing.rules if rule.ok] == []
    assert blessing.reasons()[:2] == [
        "accuracy is 0.9000, below 0.95",
        "class_recall is 0.7000, below 0.8 (class 'dog')",
    ]
    assert "latency_ms is 12.5000, above 10" in blessing.reasons()
    loose = BlessConfig(min_accuracy=0.9, min_class_recall=0.7, max_latency_ms=13, max_size_mb=3)
    assert Blessing(floors(evaluation, export, loose)).blessed


def test_a_limit_that_is_not_set_is_no_rule():
    rules = floors(score(answers(wrong=3), NAMES), Export(), BlessConfig())
    assert rules == []
    assert Blessing(rules).blessed


def test_a_live_model_that_cannot_be_asked_refuses_and_says_why():
    blessing = Blessing([incomparable("live version 3 cannot be asked: no such file")], 3)
    assert blessing.reasons() == [
        "comparable is 0.0000, below 1 (live version 3 cannot be asked: no such file)"
    ]


def test_a_verdict_survives_being_written_and_read():
    blessing = verdict(answers(wrong=12), live_with(answers(wrong=2)))
    again = Blessing.of_json(json.loads(json.dumps(blessing.to_json())))
    assert again == blessing
    assert again.to_json()["reasons"] == blessing.reasons()
