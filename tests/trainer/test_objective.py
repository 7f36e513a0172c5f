import numpy as np
import pytest
import tensorflow as tf

from trainer import network
from trainer.config import ModelConfig, TrainConfig
from trainer.fit import fit
from trainer.objective import LOSSES, compile_model, main_logs, with_targets

TRAIN = TrainConfig(epochs=1, batch_size=100)
TRUTH = np.array([0, 2, 1, 1])
GIVEN = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.5, 0.4, 0.1], [0.05, 0.9, 0.05]])
RIGHT = GIVEN[np.arange(4), TRUTH]
EXPECTED = {
    "cross_entropy": -np.log(RIGHT),
    "focal": -((1 - RIGHT) ** 2) * np.log(RIGHT),
    "squared_error": np.mean((GIVEN - np.eye(3)[TRUTH]) ** 2, axis=1),
}


def test_the_losses_of_all_outputs_are_weighed_and_added(two_headed, digits):
    compile_model(two_headed, TRAIN, {"aux1": 0.3})
    batches = with_targets(two_headed, digits.validation.take(1))  # Keras weighs batches alike
    scores = two_headed.evaluate(batches, return_dict=True, verbose=0)
    expected = scores["probabilities_loss"] + 0.3 * scores["aux1_loss"]
    assert scores["loss"] == pytest.approx(expected, rel=1e-4)


def test_history_tells_of_the_main_output_alone(two_headed, digits, tmp_path):
    result = fit(two_headed, digits, TRAIN, tmp_path, loss_weights={"aux1": 0.3})
    assert set(result.history[0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "updates",
        "rollbacks", "seconds",
    }  # fmt: skip


def test_logs_of_one_output_stay_as_they_are():
    assert main_logs({"loss": 1, "val_accuracy": 0.5}) == {"loss": 1.0, "val_accuracy": 0.5}


def test_the_float32_twin_of_a_two_headed_network_has_the_main_output_alone(digits):
    config = ModelConfig(name="googlenet", options={"auxiliary": True})
    data = digits.info.__class__(**{**digits.info.__dict__, "shape": (64, 64, 1)})
    trained = network.build(config, data)
    twin = network.in_float32(trained, config, data)
    alone = network.estimate_cost(ModelConfig(name="googlenet"), data)
    assert twin.count_params() == alone.parameters < trained.count_params()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_formula_for_ids_and_for_shares(name):
    probabilities = tf.constant(GIVEN, tf.float32)
    for labels in (tf.constant(TRUTH), tf.constant(TRUTH[:, None]), tf.one_hot(TRUTH, 3)):
        found = LOSSES[name](labels, probabilities)
        assert found.shape == (4,)
        assert np.allclose(found, EXPECTED[name], atol=1e-5)


@pytest.mark.parametrize("name", ["focal", "squared_error"])
def test_mixed_labels_are_shares_of_classes(name):
    shares, probabilities = tf.constant([[0.25, 0.0, 0.75]]), tf.constant([[0.5, 0.3, 0.2]])
    expected = {
        "focal": -0.25 * 0.25 * np.log(0.5) - 0.75 * 0.64 * np.log(0.2),
        "squared_error": (0.25**2 + 0.3**2 + 0.55**2) / 3,
    }
    assert LOSSES[name](shares, probabilities).numpy() == pytest.approx(expected[name], abs=1e-5)
