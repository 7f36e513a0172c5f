import math
from collections.abc import Callable
from operator import attrgetter

import keras
import numpy as np
import pytest

from trainer import network
from trainer.callbacks import Hooks, Interrupted
from trainer.config import ModelConfig, TrainConfig
from trainer.fit import fit
from trainer.history import best_epoch, has_converged, read_history, write_history
from trainer.objective import compile_model
from trainer.optimizers import rate_scale

DROPOUT_NET = ModelConfig(
    name="mnist_cnn", options={"filters": [4, 4], "units": 16, "first_kernel": 3}
)
TRAIN = TrainConfig(
    epochs=4,
    batch_size=100,
    learning_rate=3e-3,
    early_stopping_patience=None,
    steps_per_execution=1,  # so that hooks can stop at any step
)


def fresh(data, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return network.build(DROPOUT_NET, data.info)


def test_training_learns_and_keeps_the_best_epoch(digits, tmp_path):
    model = fresh(digits)
    result = fit(model, digits, TRAIN, tmp_path)
    losses = [epoch["val_loss"] for epoch in result.history]
    assert losses[-1] < losses[0]
    assert losses[result.best_epoch - 1] == min(losses)
    compile_model(model, TRAIN)
    loss, _ = model.evaluate(digits.validation, verbose=0)
    assert loss == pytest.approx(min(losses), rel=1e-5)
    assert list((tmp_path / "logs").rglob("events.out.tfevents.*"))
    assert read_history(tmp_path / "history.csv") == result.history


def stop_after(batches: int) -> Callable[[], bool]:
    """Give a request to stop that comes after so many batches."""
    left = iter(range(batches - 1, -1, -1))
    return lambda: next(left) == 0


def test_a_run_stopped_and_continued_equals_an_undisturbed_one_bit_for_bit(digits, tmp_path):
    """Stopped inside an epoch, inside the validation after it, and inside a later epoch."""
    undisturbed = fresh(digits)
    whole = fit(undisturbed, digits, TRAIN, tmp_path / "whole")
    states = []
    for seed, batches in enumerate((7, 6, 20)):  # of training or validation, in each part
        stopping = Hooks(stop_requested=stop_after(batches))
        with pytest.raises(Interrupted):  # from another start each: all comes from the checkpoint
            fit(fresh(digits, seed), digits, TRAIN, tmp_path / "cut", stopping)
        states.append(max((tmp_path / "cut" / "checkpoints").glob("state-*.npz")).name)
    assert states == [
        "state-00000-00000007.npz",
        "state-00000-00000012.npz",  # all steps of the epoch
        "state-00002-00000004.npz",
    ]
    continued = fresh(digits, seed=99)
    rest = fit(continued, digits, TRAIN, tmp_path / "cut")
    for one, other in zip(undisturbed.variables, continued.variables, strict=True):
        assert np.array_equal(one, other), one.path
    timeless = [{k: v for k, v in e.items() if k != "seconds"} for e in whole.history]
    assert timeless == [{k: v for k, v in e.items() if k != "seconds"} for e in rest.history]


def test_hooks_see_every_step_and_epoch(digits, tmp_path):
    steps, epochs = [], []
    hooks = Hooks(
        on_step=lambda step, of: steps.append((step, of)),
        on_epoch=lambda epoch, logs: epochs.append((epoch, set(logs))),
    )
    fit(fresh(digits), digits, TRAIN.model_copy(update={"epochs": 2}), tmp_path, hooks)
    assert steps == [(step, 12) for step in range(1, 13)] * 2
    assert epochs == [(e, {"loss", "accuracy", "val_loss", "val_accuracy"}) for e in (1, 2)]


@pytest.mark.parametrize("at_once", [5, None])
def test_steps_make_the_same_weights_however_many_a_call_takes(at_once, digits, tmp_path):
    step_by_step, several = fresh(digits), fresh(digits)
    fit(step_by_step, digits, TRAIN, tmp_path / "one")
    calls, states = [], {"checkpoint_steps": 3, "steps_per_execution": at_once}
    hooks = Hooks(on_step=lambda step, of: calls.append(step))
    fit(several, digits, TRAIN.model_copy(update=states), tmp_path / "several", hooks)
    for one, other in zip(step_by_step.variables, several.variables, strict=True):
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


def test_training_ends_when_validation_no_longer_improves(digits, tmp_path):
    patient = TRAIN.model_copy(
        update={"epochs": 40, "learning_rate": 0.02, "early_stopping_patience": 2}
    )
    result = fit(fresh(digits), digits, patient, tmp_path)
    assert len(result.history) < 40
    assert len(result.history) == result.best_epoch + 2


def test_history_survives_its_file(tmp_path):
    history = [{"epoch": 1.0, "loss": 0.1 + 0.2}, {"epoch": 2.0, "loss": math.pi}]
    write_history(tmp_path / "history.csv", history)
    assert read_history(tmp_path / "history.csv") == history


def test_averages_schedule_and_a_plateau_survive_an_interruption(digits, tmp_path):
    settings = {
        "ema_momentum": 0.9,
        "schedule": {"name": "cosine", "warmup_epochs": 1},
        "plateau": {"patience": 1, "factor": 0.5},
        "label_smoothing": 0.1,
        "class_weights": "balanced",
        "optimizer": "nesterov",
        "learning_rate": 1.0,  # too high, so that validation gets worse
    }
    config = TrainConfig.model_validate(TRAIN.model_dump() | settings)
    undisturbed = fresh(digits)
    fit(undisturbed, digits, config, tmp_path / "whole")
    stopping = Hooks(stop_requested=stop_after(40))
    with pytest.raises(Interrupted):
        fit(fresh(digits), digits, config, tmp_path / "cut", stopping)
    continued = fresh(digits, seed=99)
    fit(continued, digits, config, tmp_path / "cut")
    for kind in ("variables", "optimizer.variables"):
        pairs = zip(attrgetter(kind)(undisturbed), attrgetter(kind)(continued), strict=True)
        for one, other in pairs:
            assert np.array_equal(one, other), one.path
    assert float(rate_scale(continued.optimizer).numpy()) < 1
    assert float(continued.optimizer.iterations.numpy()) == 4 * digits.steps_per_epoch
