"""A search in a directory of the test, and KerasTuner's own worker."""

from pathlib import Path

import keras_tuner
import pytest

from tests.support.search import Rehearsal


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    """A fresh search."""
    return Rehearsal(tmp_path)


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """Be KerasTuner's own worker, which knows nothing of leases, until the search ends."""

    class Worker(keras_tuner.engine.base_tuner.BaseTuner):
        def run_trial(self, trial, *args, **kwargs):
            return {"val_accuracy": 0.5 + trial.hyperparameters.get("train.learning_rate")}

    def search(port):
        monkeypatch.setenv("KERASTUNER_TUNER_ID", "tuner7")
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(port))
        objective = keras_tuner.Objective("val_accuracy", "max")
        oracle = keras_tuner.oracles.RandomSearchOracle(objective=objective)
        worker = Worker(oracle, directory=str(tmp_path), project_name="plain")
        worker.search(verbose=0)
        return worker

    return search
