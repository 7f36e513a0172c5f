"""The compiled step against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import precision, zoo
from trainer.config import TrainConfig
from trainer.objective import compile_model
from trainer.step import training_steps


def batches(count: int = 3) -> tf.data.Dataset:
    random = np.random.default_rng(0)
    images = random.normal(size=(count, 8, 16, 16, 3)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((images, random.integers(0, 5, (count, 8)))).repeat()


def compiled(policy: str = "float32", **settings: object) -> keras.Model:
    keras.utils.set_random_seed(0)
    with precision.policy(policy):
        model = zoo.build("residual_block", image_size=(16, 16), num_classes=5)
    compile_model(model, TrainConfig(optimizer="sgd", learning_rate=0.01, **settings))
    model._symbolic_build(data_batch=batches().element_spec)
    return model


@pytest.mark.parametrize("jit", ["off", "on"])
def test_it_trains_as_keras_does(jit):
    ours, theirs = compiled(jit=jit), compiled(jit=jit)
    iterator = iter(batches())
    steps = training_steps(ours, iterator)
    steps(iterator, 1)
    steps(iterator, 2)
    theirs.fit(batches(), steps_per_epoch=3, verbose=0, shuffle=False)
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=one.path)
    results = ours.get_metrics_result(), theirs.get_metrics_result()
    assert float(results[0]["loss"]) == pytest.approx(float(results[1]["loss"]), rel=1e-4)


def test_it_goes_on_with_another_iterator():
    model = compiled()
    steps = training_steps(model, iter(batches()))
    other = iter(batches().skip(1))
    steps(other, 2)
    assert int(model.optimizer.iterations) == 2
    next_images, _ = next(other)
    np.testing.assert_array_equal(next_images, next(iter(batches()))[0])


def test_noise_beyond_a_map_reaches_no_weight():
    """GoogLeNet's 5x5 windows over one pixel: under bfloat16 oneDNN leaves noise in their rims."""
    with precision.policy("mixed_bfloat16"):
        inputs = keras.Input((1, 1, 128))
        layer = keras.layers.Conv2D(128, 5, padding="same", use_bias=False)
        outputs = keras.layers.Flatten(dtype="float32")(layer(inputs))
        model = keras.Model(inputs, keras.layers.Softmax(dtype="float32")(outputs))
    compile_model(model, TrainConfig(optimizer="sgd", learning_rate=1.0))
    maps = tf.random.normal((2, 64, 1, 1, 128))
    data = tf.data.Dataset.from_tensor_slices((maps, tf.zeros((2, 64), tf.int64))).repeat()
    model._symbolic_build(data_batch=data.element_spec)
    before = layer.kernel.numpy()
    iterator = iter(data)
    training_steps(model, iterator)(iterator, 1)
    moved = layer.kernel.numpy() != before
    assert moved[2, 2].any()
    moved[2, 2] = False
    assert not moved.any()
