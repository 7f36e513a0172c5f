import pytest

from trainer import network
from trainer.config import ModelConfig, TrainConfig
from trainer.fit import fit
from trainer.objective import compile_model, main_logs, with_targets

TRAIN = TrainConfig(epochs=1, batch_size=100)


def test_the_losses_of_all_outputs_are_weighed_and_added(two_headed, digits):
    compile_model(two_headed, TRAIN, {"aux1": 0.3})
    batches = with_targets(two_headed, digits.validation.take(1))  # Keras weighs batches alike
    scores = two_headed.evaluate(batches, return_dict=True, verbose=0)
    expected = scores["probabilities_loss"] + 0.3 * scores["aux1_loss"]
    assert scores["loss"] == pytest.approx(expected, rel=1e-4)


def test_history_tells_of_the_main_output_alone(two_headed, digits, tmp_path):
    result = fit(two_headed, digits, TRAIN, tmp_path, loss_weights={"aux1": 0.3})
    assert set(result.history[0]) == {
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds",
    }  # fmt: skip


def test_logs_of_one_output_stay_as_they_are():
    assert main_logs({"loss": 1, "val_accuracy": 0.5}) == {"loss": 1.0, "val_accuracy": 0.5}


def test_the_float32_twin_of_a_two_headed_network_has_the_main_output_alone(digits):
    config = ModelConfig(name="googlenet", options={"auxiliary": True})
    data = digits.info.__class__(**{**digits.info.__dict__, "shape": (64, 64, 1)})
    trained = network.build(config, data)
    twin = network.in_float32(trained, config, data)
    alone = network.build(ModelConfig(name="googlenet"), data)
    assert twin.count_params() == alone.count_params() < trained.count_params()
