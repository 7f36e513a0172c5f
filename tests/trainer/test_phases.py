from pathlib import Path

import keras
import numpy as np
import pytest

from trainer import network, transfer
from trainer.callbacks import Hooks, Interrupted
from trainer.config import FineTuneConfig, ModelConfig, TrainConfig
from trainer.fit import FitResult
from trainer.history import read_history
from trainer.phases import fit_phases

LENET = ModelConfig(
    name="lenet5", options={"activation": "relu", "batch_norm": True, "classifier": []}
)
TRAIN = TrainConfig(
    epochs=2,
    batch_size=100,
    learning_rate=3e-3,
    early_stopping_patience=None,
    frozen=True,
    fine_tune=FineTuneConfig(stages=1, epochs=2, learning_rate=1e-3),
)


def start(data) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = network.start(LENET, data.info)
    transfer.freeze(model)
    return model


def weights_of(model: keras.Model, layer: str) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.get_layer(layer).weights]


def unchanged(before, after) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.fixture(scope="module")
def first(digits, tmp_path_factory) -> keras.Model:
    """The network after the first phase alone."""
    model = start(digits)
    alone = TRAIN.model_copy(update={"fine_tune": None})
    fit_phases(model, digits, alone, tmp_path_factory.mktemp("first"), Hooks(), {})
    return model


@pytest.fixture(scope="module")
def both(digits, tmp_path_factory) -> tuple[keras.Model, FitResult, Path]:
    """The network after both phases, what they learned of themselves, and where."""
    model, directory = start(digits), tmp_path_factory.mktemp("both")
    return model, fit_phases(model, digits, TRAIN, directory, Hooks(), {}), directory


def test_the_trunk_rests_in_the_first_phase_and_its_end_moves_in_the_second(digits, first, both):
    model, _, _ = both
    names = ("conv1", "conv1_bn", "conv2", "conv2_bn", "logits")
    fresh = start(digits)
    initial = {name: weights_of(fresh, name) for name in names}
    for name in names:
        assert unchanged(initial[name], weights_of(first, name)) == (name != "logits"), name
    assert unchanged(initial["conv1"], weights_of(model, "conv1"))
    assert not unchanged(initial["conv2"], weights_of(model, "conv2"))
    assert unchanged(initial["conv2_bn"], weights_of(model, "conv2_bn"))  # statistics stay


def test_both_phases_make_one_history(both):
    _, result, directory = both
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3, 4]
    assert read_history(directory / "history.csv") == result.history
    best = min(result.history, key=lambda entry: entry["val_loss"])
    assert result.best_epoch == best["epoch"]


def test_a_second_phase_that_does_harm_is_undone(digits, first, tmp_path):
    harmful = FineTuneConfig(stages=1, epochs=1, learning_rate=1.0)
    config = TRAIN.model_copy(update={"fine_tune": harmful})
    model = start(digits)
    result = fit_phases(model, digits, config, tmp_path, Hooks(), {})
    assert result.best_epoch <= 2
    assert unchanged(model.get_weights(), first.get_weights())


def test_an_interruption_in_the_second_phase_is_resumed_there(digits, both, tmp_path):
    undisturbed, _, _ = both
    epochs = []
    stopping = Hooks(
        on_epoch=lambda epoch, logs: epochs.append(epoch), stop_requested=lambda: len(epochs) == 3
    )
    with pytest.raises(Interrupted):
        fit_phases(start(digits), digits, TRAIN, tmp_path, stopping, {})
    seen = []
    resumed = start(digits)
    hooks = Hooks(on_epoch=lambda epoch, logs: seen.append(epoch))
    fit_phases(resumed, digits, TRAIN, tmp_path, hooks, {})
    assert seen == [2]  # the last epoch of the second phase, and nothing else
    assert unchanged(undisturbed.get_weights(), resumed.get_weights())


def test_fine_tuning_without_a_frozen_phase_is_refused():
    with pytest.raises(ValueError, match="set frozen = true"):
        TrainConfig(fine_tune=FineTuneConfig())


def test_training_starts_from_the_weights_of_a_file(digits, tmp_path):
    trained = network.build(LENET, digits.info)
    trained.save(tmp_path / "trained.keras")
    config = LENET.model_copy(update={"weights": str(tmp_path / "trained.keras")})
    assert unchanged(trained.get_weights(), network.start(config, digits.info).get_weights())
    with pytest.raises(ValueError, match="no weights in"):
        network.start(LENET.model_copy(update={"weights": "nowhere"}), digits.info)
