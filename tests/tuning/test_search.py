from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from tuning.config import Choice, Dimension, FloatRange, IntRange, TuneConfig
from tuning.search import NoTrialCompleted, search
from tuning.space import declare, ends

SPACE = {
    "train.learning_rate": {"float": [1e-4, 1e-1], "sampling": "log"},
    "train.batch_size": {"int": [16, 64], "step": 16},
    "train.optimizer": {"choice": ["adam", "sgd"]},
}


def config(**settings) -> TuneConfig:
    return TuneConfig.model_validate({"space": SPACE, "max_trials": 8, **settings})


def peak_at_adam(values, directory: Path) -> float:
    """A score that is known in advance."""
    return 0.9 if values["train.optimizer"] == "adam" else 0.1


def test_values_come_from_the_space_and_the_best_come_first(tmp_path):
    seen = []
    trials = search(config(), peak_at_adam, tmp_path, seen.append)
    assert len(trials) == len(seen) == 8
    assert [t.score for t in trials] == sorted((t.score for t in trials), reverse=True)
    assert trials[0].values["train.optimizer"] == "adam"
    for trial in trials:
        assert trial.state == "COMPLETED"
        assert set(trial.values) == set(SPACE)
        assert 1e-4 <= trial.values["train.learning_rate"] <= 1e-1
        assert trial.values["train.batch_size"] in (16, 32, 48, 64)


def test_the_seed_decides_the_values(tmp_path):
    drawn = [
        [t.values for t in search(config(seed=seed), peak_at_adam, tmp_path / name, lambda t: None)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_every_trial_has_a_directory_of_its_own(tmp_path):
    places = []

    def remember(values, directory: Path) -> float:
        places.append(directory)
        return 0.5

    search(config(), remember, tmp_path, lambda t: None)
    assert len(set(places)) == 8
    assert all(place.is_relative_to(tmp_path) for place in places)


def test_a_failing_trial_is_recorded_with_its_reason_and_the_search_goes_on(tmp_path):
    def only_adam(values, directory: Path) -> float:
        if values["train.optimizer"] == "sgd":
            raise ValueError("sgd is not wanted here")
        return 0.5

    trials = search(config(), only_adam, tmp_path, lambda t: None)
    failed = [trial for trial in trials if trial.state == "FAILED"]
    assert len(trials) == 8
    assert 0 < len(failed) < 8
    assert {trial.reason for trial in failed} == {"sgd is not wanted here"}
    assert trials[-1].score is None


def test_a_search_without_any_success_says_why(tmp_path):
    def fail(values, directory: Path) -> float:
        raise ValueError("no disk")

    with pytest.raises(NoTrialCompleted, match="none of 8 trials completed: no disk"):
        search(config(), fail, tmp_path, lambda t: None)


def test_nothing_is_printed_on_stdout(tmp_path, capsys):
    search(config(max_trials=2), peak_at_adam, tmp_path, lambda t: None)
    assert capsys.readouterr().out == ""


def test_the_whole_space_is_declared_before_the_first_trial():
    declared = declare(config().space)
    assert {hp.name for hp in declared.space} == set(SPACE)


@pytest.mark.parametrize(
    ("text", "kind", "bounds"),
    [
        ({"choice": [3, 1, 2]}, Choice, [3, 1, 2]),
        ({"int": [1, 5]}, IntRange, [1, 5]),
        ({"float": [0.5, 2.0]}, FloatRange, [0.5, 2.0]),
    ],
)
def test_a_dimension_is_known_by_its_key(text, kind, bounds):
    dimension = TypeAdapter(Dimension).validate_python(text)
    assert isinstance(dimension, kind)
    assert ends(dimension) == bounds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"int": [5, 1]}, "lowest value must be below the highest"),
        ({"float": [0, 1], "sampling": "log"}, "log sampling needs a lowest value above 0"),
        ({"choice": []}, "at least 1 item"),
        ({"between": [1, 2]}, "expected {choice"),
    ],
)
def test_wrong_dimensions_are_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Dimension).validate_python(text)
