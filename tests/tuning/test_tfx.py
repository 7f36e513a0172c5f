"""`tuner_fn` as TFX's Tuner calls it, and `run_fn` with what it has found."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest
from keras_tuner.engine import base_tuner

from tests.support.tfx_component import SECTIONS, arguments, write_examples
from trainer.tfx import read_settings
from tuning.journal import read
from tuning.tfx import tuner_fn

TUNE: dict[str, Any] = {
    "max_trials": 2,
    "space": {
        "train.optimizer": {"choice": ["adam", "sgd"]},
        "train.learning_rate": {"float": [1e-3, 1e-2], "sampling": "log"},
    },
}
HYPERBAND = {**TUNE, "algorithm": "hyperband", "hyperband": {"max_epochs": 3}, "max_trials": None}


@pytest.fixture(scope="module")
def examples(tmp_path_factory, data_dir) -> Path:
    directory = tmp_path_factory.mktemp("tfx")
    write_examples(directory, data_dir, of_each=50)
    return directory


def tuner_arguments(examples: Path, place: Path, tune: dict[str, Any], **given) -> SimpleNamespace:
    """A Tuner has a directory to work in, and no place for a model."""
    sections = {**SECTIONS, "tune": tune}
    sections["data"] = {**sections["data"], "data_dir": str(examples / "data")}  # prepared once
    sections["train"] = {**sections["train"], "epochs": 1, "precision": "mixed_bfloat16"}
    more = {"working_dir": str(place), "serving_model_dir": None}
    return arguments(examples, custom_config={"convoy": sections}, **{**more, **given})


def execute(fn_args: SimpleNamespace) -> dict[str, Any]:
    """Do what TFX's executor does with a tuner_fn, up to the file that it writes."""
    result = tuner_fn(fn_args)
    tuner, fit_kwargs = result
    assert isinstance(tuner, base_tuner.BaseTuner)
    tuner.search_space_summary()
    assert tuner.tuner_id
    tuner.search(**fit_kwargs)
    tuner.results_summary()
    assert tuner.oracle.get_best_trials(tuner.oracle.max_trials)
    return json.loads(json.dumps(tuner.get_best_hyperparameters()[0].get_config()))


def events(place: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e in read(place / "convoy" / "journal.jsonl") if e["event"] == kind]


@pytest.mark.parametrize("algorithm", ["random", pytest.param("bayesian", marks=pytest.mark.slow)])
def test_the_trainer_trains_with_what_the_tuner_found(examples, tmp_path, algorithm):
    tune = {**TUNE, "algorithm": algorithm}
    if algorithm == "bayesian":
        tune["bayesian"] = {"num_initial_points": 1}
    found = execute(tuner_arguments(examples, tmp_path, tune))
    assert keras_tuner.HyperParameters.from_config(found).values == found["values"]
    settings = read_settings(arguments(examples, hyperparameters=found))
    assert settings.train.optimizer == found["values"]["train.optimizer"]
    assert settings.train.learning_rate == found["values"]["train.learning_rate"]
    ended = events(tmp_path, "end")
    assert [event["state"] for event in ended] == ["COMPLETED"] * 2
    best = max(ended, key=lambda event: event["score"])
    assert best["values"] == found["values"]
    # A Tuner that is started again has nothing left to do.
    assert execute(tuner_arguments(examples, tmp_path, tune)) == found
    assert events(tmp_path, "end") == ended


@pytest.mark.slow
def test_hyperband_promotes_trials_that_go_on_where_they_stood(examples, tmp_path):
    found = execute(tuner_arguments(examples, tmp_path, HYPERBAND))
    assert set(found["values"]) == set(TUNE["space"])
    created = events(tmp_path, "create")
    promoted = [event for event in created if event["parent"] is not None]
    assert promoted
    for event in promoted:
        lines = (tmp_path / "trials" / event["trial"] / "history.csv").read_text().splitlines()
        assert len(lines) - 1 == event["epochs"]
        before = tmp_path / "trials" / event["parent"] / "history.csv"
        assert lines[1] == before.read_text().splitlines()[1]
    assert {event["state"] for event in events(tmp_path, "end")} == {"COMPLETED"}


def test_a_trial_that_diverges_is_recorded_and_never_the_best(examples, tmp_path):
    space = {"train.learning_rate": {"choice": [3e-3, 1e30]}}
    tune = {"algorithm": "grid", "space": space}
    found = execute(tuner_arguments(examples, tmp_path, tune))
    assert found["values"] == {"train.learning_rate": 3e-3}
    states = {e["values"]["train.learning_rate"]: e["state"] for e in events(tmp_path, "end")}
    assert states == {3e-3: "COMPLETED", 1e30: "FAILED"}


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"space": {"lr": {"float": [0, 1]}}}, "'lr' is no field of a job"),
        ({"space": {"train.epochs": {"int": [0, 3]}}}, "greater than or equal to 1"),
        ({"space": {"model.options.activation": {"choice": ["rel"]}}}, "rel"),
        ({"algorithm": "hyperbad"}, "hyperband"),
    ],
)
def test_a_wrong_search_is_refused_before_the_first_trial(examples, tmp_path, tune, message):
    with pytest.raises(ValueError, match=message):
        tuner_fn(tuner_arguments(examples, tmp_path, tune))
