import math
from dataclasses import dataclass, field
from functools import partialmethod
from operator import attrgetter
from pathlib import Path

import keras
import numpy as np
import pytest

from pipeline import DataConfig, load
from tests.support.waiting import stop_after
from trainer import network
from trainer.callbacks import Diverged, Hooks, Interrupted
from trainer.config import ModelConfig, TrainConfig
from trainer.fit import FitResult, fit
from trainer.history import best_epoch, has_converged, read_history, write_history
from trainer.objective import compile_model
from trainer.optimizers import rate_scale

DROPOUT_NET = ModelConfig(name="mlp", options={"units": [16], "activation": "tanh", "dropout": 0.3})
TRAIN = TrainConfig(
    epochs=4,
    batch_size=9,
    learning_rate=3e-3,
    early_stopping_patience=None,
    steps_per_execution=1,  # so that hooks can stop at any step
)


def fresh(data, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return network.build(DROPOUT_NET, data.info)


@dataclass
class Run:
    """Training that nobody disturbed, and what its hooks saw."""

    model: keras.Model
    directory: Path
    steps: list[tuple[int, int]] = field(default_factory=list)
    epochs: list[tuple[int, set[str]]] = field(default_factory=list)

    def fit(self, data) -> FitResult:
        hooks = Hooks(
            on_step=lambda step, of: self.steps.append((step, of)),
            on_epoch=lambda epoch, logs: self.epochs.append((epoch, set(logs))),
        )
        return fit(self.model, data, TRAIN, self.directory, hooks)


@pytest.fixture(scope="module")
def undisturbed(iris, tmp_path_factory) -> tuple[Run, FitResult]:
    run = Run(fresh(iris), tmp_path_factory.mktemp("undisturbed"))
    return run, run.fit(iris)


def test_training_learns_and_keeps_the_best_epoch(iris, undisturbed):
    run, result = undisturbed
    losses = [epoch["val_loss"] for epoch in result.history]
    assert losses[-1] < losses[0]
    assert losses[result.best_epoch - 1] == min(losses)
    model = fresh(iris)
    model.set_weights(run.model.get_weights())
    compile_model(model, TRAIN)
    loss, _ = model.evaluate(iris.validation, verbose=0)
    assert loss == pytest.approx(min(losses), rel=1e-5)
    assert list((run.directory / "logs").rglob("events.out.tfevents.*"))
    assert read_history(run.directory / "history.csv") == result.history


def test_a_run_stopped_and_continued_equals_an_undisturbed_one_bit_for_bit(
    iris, undisturbed, tmp_path
):
    """Stopped inside an epoch, inside the validation after it, and inside a later epoch."""
    run, whole = undisturbed
    states = []
    for seed, batches in enumerate((7, 6, 20)):  # of training or validation, in each part
        stopping = Hooks(stop_requested=stop_after(batches))
        with pytest.raises(Interrupted):  # from another start each: all comes from the checkpoint
            fit(fresh(iris, seed), iris, TRAIN, tmp_path / "cut", stopping)
        states.append(max((tmp_path / "cut" / "checkpoints").glob("state-*.npz")).name)
    assert states == [
        "state-00000-00000007.npz",
        "state-00000-00000012.npz",  # all steps of the epoch
        "state-00002-00000004.npz",
    ]
    continued = fresh(iris, seed=99)
    rest = fit(continued, iris, TRAIN, tmp_path / "cut")
    for one, other in zip(run.model.variables, continued.variables, strict=True):
        assert np.array_equal(one, other), one.path
    timeless = [{k: v for k, v in e.items() if k != "seconds"} for e in whole.history]
    assert timeless == [{k: v for k, v in e.items() if k != "seconds"} for e in rest.history]


def test_hooks_see_every_step_and_epoch(undisturbed):
    run, _ = undisturbed
    names = {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert run.steps == [(step, 12) for step in range(1, 13)] * 4
    assert run.epochs == [(epoch, names) for epoch in (1, 2, 3, 4)]


@pytest.mark.parametrize("at_once", [5, None])
def test_steps_make_the_same_weights_however_many_a_call_takes(
    at_once, iris, undisturbed, tmp_path
):
    run, _ = undisturbed
    several = fresh(iris)
    calls, states = [], {"checkpoint_steps": 3, "steps_per_execution": at_once}
    hooks = Hooks(on_step=lambda step, of: calls.append(step))
    fit(several, iris, TRAIN.model_copy(update=states), tmp_path, hooks)
    for one, other in zip(run.model.variables, several.variables, strict=True):
        assert np.array_equal(one, other), one.path
    assert {3, 6, 9, 12} <= set(calls)  # no call goes beyond a state that is due
    assert len(calls) < 4 * 12


def test_early_stopping_counts_epochs_since_the_best():
    history = [{"val_loss": loss} for loss in (3.0, 1.0, 2.0, 1.0)]
    assert best_epoch(history) == 2  # the first of equals
    assert has_converged(history, 2)
    assert not has_converged(history, 3)
    assert not has_converged(history, None)
    assert not has_converged([], 1)


def test_an_epoch_that_changed_no_weight_is_no_best_one():
    history = [{"val_loss": loss, "updates": n} for loss, n in ((1.0, 0), (3.0, 5), (2.0, 5))]
    assert best_epoch(history) == 3
    assert best_epoch(history[:1]) == 0
    assert has_converged(history[:1], 1)


@pytest.fixture
def one_step_iris(data_dir, monkeypatch):
    """Flowers in batches of all, under a loss scale that float16 overflows at for some steps."""
    begin = keras.optimizers.LossScaleOptimizer.__init__
    large = partialmethod(begin, initial_scale=2.0**20)
    monkeypatch.setattr(keras.optimizers.LossScaleOptimizer, "__init__", large)
    return load(DataConfig(source="iris", data_dir=str(data_dir)), batch_size=108)


def in_float16(data) -> keras.Model:
    keras.utils.set_random_seed(0)
    return network.build(DROPOUT_NET, data.info, "mixed_float16")


def test_epochs_lost_to_float16_are_told_once_and_not_kept(one_step_iris, tmp_path, caplog):
    config = TRAIN.model_copy(update={"epochs": 12})
    result = fit(in_float16(one_step_iris), one_step_iris, config, tmp_path)
    counts = [entry["updates"] for entry in result.history]
    assert counts == sorted(counts)  # none at first, then one in each epoch
    assert counts.count(0) > 1
    assert result.best_epoch > counts.count(0)
    rates = [entry["learning_rate"] for entry in result.history]
    assert rates == pytest.approx([count * 3e-3 for count in counts])
    told = [record.message for record in caplog.records if "changed no weight" in record.message]
    assert len(told) == 1
    assert told[0].startswith("epoch 1 changed no weight: in each of its 1 steps")


def test_a_training_in_which_no_weight_changed_fails(one_step_iris, tmp_path):
    config = TRAIN.model_copy(update={"epochs": 2})
    with pytest.raises(Diverged, match="no weight changed in 2 epochs: .* too large for float16"):
        fit(in_float16(one_step_iris), one_step_iris, config, tmp_path)


def test_accumulating_more_batches_than_an_epoch_has_updates_once_an_epoch(iris, tmp_path):
    several = TRAIN.model_copy(update={"epochs": 2, "accumulation_steps": 20})
    result = fit(fresh(iris), iris, several, tmp_path)
    assert [entry["updates"] for entry in result.history] == [1, 1]
    with pytest.raises(ValueError, match="accumulation_steps is 25, and the training has 24 steps"):
        fit(fresh(iris), iris, several.model_copy(update={"accumulation_steps": 25}), tmp_path)


def test_a_run_that_accumulates_continues_bit_for_bit(iris, tmp_path):
    config = TRAIN.model_copy(update={"accumulation_steps": 5, "ema_momentum": 0.9})
    whole, continued = fresh(iris, seed=1), fresh(iris, seed=99)
    fit(whole, iris, config, tmp_path / "whole")
    stopping = Hooks(stop_requested=stop_after(21))  # inside a group of the second epoch
    with pytest.raises(Interrupted):
        fit(fresh(iris, seed=1), iris, config, tmp_path / "cut", stopping)
    fit(continued, iris, config, tmp_path / "cut")
    for kind in ("variables", "optimizer.variables"):
        for one, other in zip(attrgetter(kind)(whole), attrgetter(kind)(continued), strict=True):
            assert np.array_equal(one, other), one.path


def test_training_ends_when_validation_no_longer_improves(iris, tmp_path):
    patient = TRAIN.model_copy(
        update={"epochs": 40, "learning_rate": 0.1, "early_stopping_patience": 2}
    )
    result = fit(fresh(iris), iris, patient, tmp_path)
    assert len(result.history) < 40
    assert len(result.history) == result.best_epoch + 2


def test_history_survives_its_file(tmp_path):
    history = [{"epoch": 1.0, "loss": 0.1 + 0.2}, {"epoch": 2.0, "loss": math.pi}]
    write_history(tmp_path / "history.csv", history)
    assert read_history(tmp_path / "history.csv") == history


def test_averages_schedule_and_a_plateau_survive_an_interruption(iris, tmp_path):
    settings = {
        "ema_momentum": 0.9,
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "plateau": {"patience": 1, "factor": 0.5},
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "optimizer": "nesterov",
        "learning_rate": 1.0,  # too high, so that validation gets worse before the interruption
    }
    config = TrainConfig.model_validate(TRAIN.model_dump() | settings)
    undisturbed = fresh(iris, seed=1)
    fit(undisturbed, iris, config, tmp_path / "whole")
    stopping = Hooks(stop_requested=stop_after(40))
    with pytest.raises(Interrupted):
        fit(fresh(iris, seed=1), iris, config, tmp_path / "cut", stopping)
    continued = fresh(iris, seed=99)
    fit(continued, iris, config, tmp_path / "cut")
    for kind in ("variables", "optimizer.variables"):
        pairs = zip(attrgetter(kind)(undisturbed), attrgetter(kind)(continued), strict=True)
        for one, other in pairs:
            assert np.array_equal(one, other), one.path
    assert float(rate_scale(continued.optimizer).numpy()) < 1
    assert float(continued.optimizer.iterations.numpy()) == 4 * iris.steps_per_epoch
