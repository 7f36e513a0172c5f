"""Our grouped convolution equals Keras' own, forwards and backwards, without XLA."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.grouped import GroupedConv2D

SETTINGS = [
    {"groups": 2},
    {"groups": 4, "strides": 2},
    {"groups": 4, "strides": 2, "padding": "same"},
    {"groups": 2, "padding": "same", "dilation_rate": 2},
    {"groups": 8},
    {"groups": 8, "padding": "same", "strides": 2},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_it_computes_what_keras_computes(settings):
    x = keras.random.normal((2, 9, 11, 8), seed=0)
    theirs, ours = (kind(16, (3, 5), **settings) for kind in (layers.Conv2D, GroupedConv2D))
    expected = theirs(x)
    ours.build(x.shape)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(ours(x), expected, atol=1e-4)


def test_its_gradient_is_that_of_the_groups_convolved_one_by_one():
    x = keras.random.normal((2, 6, 6, 4), seed=0)
    whole = GroupedConv2D(6, 3, groups=2, use_bias=False)
    whole.build(x.shape)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(whole(x) ** 2)
    gradient = tape.gradient(loss, whole.kernel.value)
    for group in range(2):
        kernel = tf.Variable(whole.kernel[..., 3 * group : 3 * group + 3])
        with tf.GradientTape() as tape:
            part = tf.nn.conv2d(x[..., 2 * group : 2 * group + 2], kernel, 1, "VALID")
            loss = tf.reduce_sum(part**2)
        expected = tape.gradient(loss, kernel)
        np.testing.assert_allclose(
            gradient[..., 3 * group : 3 * group + 3], expected, rtol=1e-3, atol=1e-4
        )


def test_its_graph_asks_for_no_compiler():
    layer = GroupedConv2D(8, 3, groups=2)
    layer.build((None, 8, 8, 4))
    function = tf.function(layer.__call__).get_concrete_function(
        tf.TensorSpec((None, 8, 8, 4), tf.float32)
    )
    assert "XlaMustCompile" not in str(function.graph.as_graph_def())
