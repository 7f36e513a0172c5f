"""Augmentation and standardisation on their way through training, resumption and export."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import DataConfig, load
from pipeline.dataset import Splits
from trainer import network
from trainer.callbacks import Hooks, Interrupted
from trainer.config import ModelConfig, TrainConfig
from trainer.export import export
from trainer.fit import FitResult, fit
from trainer.objective import accuracy, cross_entropy

LENET = ModelConfig(name="lenet5", options={"activation": "relu"})
TRAIN = TrainConfig(
    epochs=3,
    batch_size=100,
    learning_rate=3e-3,
    early_stopping_patience=None,
    steps_per_execution=1,  # so that hooks can stop at any step
)
AUGMENT = {
    "rotation_range": 10,
    "width_shift_range": 0.1,
    "mixup": 0.2,
    "cutmix": 1.0,
    "random_erasing": 0.3,
    "samplewise_center": True,
    "featurewise_std_normalization": True,
}


@pytest.fixture(scope="module")
def augmented(data_dir) -> Splits:
    """Digits with soft labels, changed anew in every epoch, and standardised."""
    config = {"source": "digits", "channels": 1, "image_size": [16, 16], "augment": AUGMENT}
    return load(DataConfig.model_validate(config | {"data_dir": str(data_dir)}), 100)


def fresh(data: Splits, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return network.build(LENET, data.info)


@pytest.fixture(scope="module")
def undisturbed(augmented, tmp_path_factory) -> tuple[keras.Model, FitResult]:
    model = fresh(augmented)
    return model, fit(model, augmented, TRAIN, tmp_path_factory.mktemp("whole"))


def test_a_run_on_augmented_images_continues_bit_for_bit(augmented, undisturbed, tmp_path):
    steps = 0

    def stop_in_the_second_epoch() -> bool:
        nonlocal steps
        steps += 1
        return steps > augmented.steps_per_epoch + 5

    stopping = Hooks(stop_requested=stop_in_the_second_epoch)
    with pytest.raises(Interrupted):
        fit(fresh(augmented), augmented, TRAIN, tmp_path, stopping)
    continued = fresh(augmented, seed=99)
    fit(continued, augmented, TRAIN, tmp_path)
    for one, other in zip(undisturbed[0].variables, continued.variables, strict=True):
        assert np.array_equal(one, other), one.path


def test_training_on_shares_validates_on_ids(augmented, undisturbed):
    assert augmented.train_epochs(0).element_spec[1].shape == (100, 10)
    _, result = undisturbed
    accuracies = [epoch["val_accuracy"] for epoch in result.history]
    assert accuracies[-1] > 0.5
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_the_exported_model_standardises_as_training_does(augmented, data_dir, tmp_path):
    model = fresh(augmented)
    directory = export(model, augmented.info, augmented.prepare, tmp_path / "e", {})
    served = tf.saved_model.load(str(directory)).signatures["serving_default"]
    config = {"source": "digits", "channels": 1, "image_size": [16, 16]}
    plain = load(DataConfig.model_validate(config | {"data_dir": str(data_dir)}), 100, "none")
    for (raw, _), (prepared, _) in zip(plain.test, augmented.test, strict=True):
        answer = served(image=tf.cast(raw, tf.uint8))["probabilities"]
        assert np.allclose(answer, model(prepared, training=False), atol=1e-5)


def test_ids_and_certain_shares_have_the_same_loss_and_accuracy():
    probabilities = tf.constant(np.random.default_rng(0).dirichlet(np.ones(4), 20), tf.float32)
    ids = tf.constant(np.arange(20) % 4, tf.int64)
    shares = tf.one_hot(ids, 4)
    assert np.allclose(cross_entropy(ids, probabilities), cross_entropy(shares, probabilities))
    assert np.array_equal(accuracy(ids, probabilities), accuracy(shares, probabilities))


def test_the_loss_of_mixed_labels_is_the_mixture_of_losses():
    probabilities = tf.constant([[0.5, 0.3, 0.2]])
    loss = cross_entropy(tf.constant([[0.25, 0.0, 0.75]]), probabilities)
    assert loss.numpy() == pytest.approx(-0.25 * np.log(0.5) - 0.75 * np.log(0.2), abs=1e-5)
