"""Rectifiers behind their pooling against rectifiers where they stand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer import precision
from trainer.layers import MinPooling2D, OverlappingPooling2D
from trainer.pool_first import pooled_first

POOLINGS = {
    "max": layers.MaxPooling2D(2),
    "same": layers.MaxPooling2D(3, padding="same"),
    "overlapping": OverlappingPooling2D(3, 2),
    "min": MinPooling2D(2),
}


def network(activation: str, pooling: str = "max", policy: str = "float32") -> keras.Model:
    keras.utils.set_random_seed(0)
    with precision.policy(policy):
        x = inputs = keras.Input((12, 12, 3))
        x = layers.Conv2D(8, 3, padding="same", name="conv")(x)
        x = layers.Activation(activation, name="act")(x)
        kind = POOLINGS[pooling]
        x = type(kind).from_config(kind.get_config() | {"name": "pool", "dtype": policy})(x)
        return keras.Model(inputs, layers.Flatten(dtype="float32")(x))


def outputs_and_gradients(model: keras.Model) -> list[np.ndarray]:
    images = tf.constant(np.random.default_rng(0).normal(size=(16, 12, 12, 3)), tf.float32)

    def run():
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = tf.reduce_sum(outputs * outputs)
        return [outputs, *tape.gradient(loss, model.trainable_weights)]

    return [tensor.numpy() for tensor in tf.function(run, autograph=False)()]


def is_late(model: keras.Model) -> bool:
    """Tell whether the rectifier leaves its values to the pooling."""
    return bool(model.get_layer("act")(tf.constant([[-1.0]])).numpy() == -1.0)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_outputs_and_gradients_are_the_same_bit_for_bit(pooling, activation, policy):
    model = network(activation, pooling, policy)
    before = outputs_and_gradients(model)
    with pooled_first(model):
        assert is_late(model)
        late = outputs_and_gradients(model)
    for one, other in zip(late, before, strict=True):
        assert np.array_equal(one, other)
    assert before[0].any()


def test_the_layers_are_themselves_again_after_the_block():
    model = network("relu")
    with pooled_first(model):
        pass
    assert not is_late(model)
    assert "call" not in vars(model.get_layer("pool"))
    assert model.get_layer("act").get_config()["activation"] == "relu"


@pytest.mark.parametrize("activation", ["sigmoid", "gelu", "leaky_relu"])
def test_activations_that_bend_values_stay(activation):
    model = network(activation)
    with pooled_first(model):
        assert "call" not in vars(model.get_layer("pool"))


@pytest.mark.parametrize("also", ["shown", "taken twice"])
def test_a_rectifier_that_others_see_stays(also):
    plain = network("relu")
    activated = plain.get_layer("act").output
    seen = activated if also == "shown" else layers.GlobalAveragePooling2D()(activated)
    model = keras.Model(plain.input, [plain.output, seen])
    with pooled_first(model):
        assert not is_late(model)


def test_averages_are_taken_of_rectified_values():
    inputs = keras.Input((4, 4, 2))
    rectified = layers.Activation("relu", name="act")(inputs)
    model = keras.Model(inputs, layers.AveragePooling2D(2)(rectified))
    with pooled_first(model):
        assert not is_late(model)
