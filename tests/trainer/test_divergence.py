"""A loss that blows up: what counts as that, and training that goes back with a smaller rate."""

import io
import logging
import math
import shutil
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import keras
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.support.waiting import stop_after
from trainer import network
from trainer.callbacks import Diverged, Hooks, Interrupted
from trainer.chapters.training import curves
from trainer.config import ModelConfig, TrainConfig
from trainer.divergence import check_loss
from trainer.fit import FitResult, fit
from trainer.history import read_history
from trainer.optimizers import rate_scale

NET = ModelConfig(name="mlp", options={"units": [16], "dropout": 0.1})
CALM = {
    "epochs": 2,
    "batch_size": 9,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "steps_per_execution": 1,  # so that hooks can stop at any step
}
WILD = CALM | {"epochs": 4, "learning_rate": 1e3, "divergence": {"factor": 1e-4}}
KNOWN = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 0.3}]


def config(settings: dict) -> TrainConfig:
    return TrainConfig.model_validate({"early_stopping_patience": None} | settings)


def fresh(data, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return network.build(NET, data.info)


def equal_states(one: keras.Model, other: keras.Model) -> bool:
    kinds = map(attrgetter, ("variables", "optimizer.variables"))
    pairs = [pair for kind in kinds for pair in zip(kind(one), kind(other), strict=True)]
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("history", "logs"),
    [
        ([], {"loss": 2.4}),
        ([], {"loss": 90.0}),  # a start from far away
        ([], {"loss": 2.0, "val_loss": 90.0}),  # statistics that lag behind
        (KNOWN, {"loss": 1.9}),  # six times the last, better than the first
        (KNOWN, {"loss": 2.1, "val_loss": 9.0}),
        ([{"epoch": 1, "loss": 2.0}], {"loss": 5.9}),
    ],
)
def test_a_loss_that_is_only_high_is_left_alone(history, logs):
    jump = 8.0 if history == KNOWN else 3.0
    check_loss(logs, history, jump, classes=10)


@pytest.mark.parametrize(
    ("history", "logs", "told"),
    [
        ([], {"loss": math.nan, "accuracy": 0.1}, r"no longer finite in epoch 1 \(loss nan\)"),
        (KNOWN, {"loss": 0.2, "val_loss": math.inf}, r"epoch 3 \(loss 0\.2, val_loss inf\)"),
        ([], {"loss": 24.0, "val_loss": 40.0}, "is 24 after epoch 1, a blind guess's 2.3"),
        (KNOWN, {"loss": 2.1}, r"jumped from 0\.3 to 2\.1 in epoch 3"),
        (KNOWN, {"loss": 3.0, "probabilities_loss": 2.1, "aux1_loss": 0.9}, r"from 0\.3 to 2\.1"),
    ],
)
def test_a_loss_that_has_blown_up_is_told_with_its_epoch(history, logs, told):
    with pytest.raises(Diverged, match=told):
        check_loss(logs, history, 3.0, classes=10)


@pytest.fixture(scope="module")
def calm(iris, tmp_path_factory) -> Path:
    """Two epochs at a rate that is right."""
    directory = tmp_path_factory.mktemp("calm")
    fit(fresh(iris), iris, config(CALM), directory)
    return directory


@dataclass(frozen=True)
class GoneBack:
    """Training that went on at a rate far too high, and what it logged."""

    model: keras.Model
    result: FitResult
    directory: Path
    log: str


@pytest.fixture(scope="module")
def gone_back(iris, calm, tmp_path_factory) -> GoneBack:
    directory = tmp_path_factory.mktemp("wild") / "run"
    shutil.copytree(calm, directory)
    model, log = fresh(iris), io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger("trainer").addHandler(handler)
    try:
        result = fit(model, iris, config(WILD), directory)
    finally:
        logging.getLogger("trainer").removeHandler(handler)
    return GoneBack(model, result, directory, log.getvalue())


def test_training_goes_back_to_the_last_epoch_and_on_with_a_smaller_rate(gone_back):
    result = gone_back.result
    assert [entry["rollbacks"] for entry in result.history] == [0, 0, 1, 0]
    rates = [entry["learning_rate"] for entry in result.history]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1])
    assert float(rate_scale(gone_back.model.optimizer).numpy()) == pytest.approx(1e-4)
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    assert read_history(gone_back.directory / "history.csv") == result.history
    assert "going back to the end of epoch 2 with 0.0001 of the learning rate" in gone_back.log
    assert "went back 1 time" in curves(result.history).note
    (written,) = [told for told in events(gone_back.directory) if "rollbacks" in told]
    assert "divergence" in written


def events(directory: Path) -> list[list[str]]:
    """Give the names in each of TensorBoard's files."""
    files = (directory / "logs" / "train").glob("events.out.tfevents.*")
    return [EventAccumulator(str(file)).Reload().Tags()["tensors"] for file in files]


def test_a_loss_that_stays_wild_ends_training_in_one_line(iris, tmp_path):
    settings = config(CALM | {"learning_rate": 1e30})
    told = r"^the loss is .*epoch 1.*, after 2 roll-backs to smaller rates: lower train\.lear"
    with pytest.raises(Diverged, match=told):
        fit(fresh(iris), iris, settings, tmp_path)


def test_without_rollbacks_it_ends_at_once(iris, tmp_path, caplog):
    settings = config(CALM | {"learning_rate": 1e30, "divergence": {"rollbacks": 0}})
    with pytest.raises(Diverged, match=r"^the loss is .*epoch 1[^:]*: lower train\.learning_rate$"):
        fit(fresh(iris), iris, settings, tmp_path)
    assert "going back" not in caplog.text


def test_an_interruption_before_or_after_a_roll_back_changes_nothing(
    iris, calm, gone_back, tmp_path
):
    """Stopped while the loss is wild, in the epoch that is trained again, and in the next one."""
    cut, states = tmp_path / "cut", []
    shutil.copytree(calm, cut)
    for seed, batches in enumerate((5, 13, 9)):  # the second part sees the rest of the wild ones
        stopping = Hooks(stop_requested=stop_after(batches))
        with pytest.raises(Interrupted):
            fit(fresh(iris, seed), iris, config(WILD), cut, stopping)
        states.append(max((cut / "checkpoints").glob("state-*.npz")).name)
    assert states == [
        "state-00002-00000005.npz",
        "state-00002-00000006.npz",
        "state-00003-00000001.npz",
    ]
    continued = fresh(iris, seed=99)
    result = fit(continued, iris, config(WILD), cut)
    assert equal_states(gone_back.model, continued)
    assert [entry["rollbacks"] for entry in result.history] == [0, 0, 1, 0]
