"""Costs agree with the course's tables and the papers' figures."""

import keras
import pytest
from keras import layers

from trainer import flops, zoo
from trainer.layers import ConvBN, SqueezeExcite
from trainer.zoo.inception import Widths, inception

FIRST_MODULE = Widths(64, (96, 128), (16, 32), 32)


def cost_of(layer, shape):
    inputs = keras.Input(shape)
    return flops.count(keras.Model(inputs, layer(inputs)))


@pytest.mark.parametrize(
    ("layer", "shape", "multiply_adds"),
    [
        (layers.Dense(10), (20,), 200),
        (layers.Dense(10), (7, 7, 20), 49 * 200),
        (layers.Conv2D(8, 3, padding="same"), (10, 10, 4), 100 * 9 * 4 * 8),
        (layers.Conv2D(8, 3, 2), (9, 9, 4), 16 * 9 * 4 * 8),
        (layers.Conv2D(8, 3, groups=4, padding="same"), (10, 10, 4), 100 * 9 * 1 * 8),
        (layers.DepthwiseConv2D(5, padding="same"), (10, 10, 4), 100 * 25 * 4),
        (layers.SeparableConv2D(8, 3, padding="same"), (10, 10, 4), 100 * (9 * 4 + 4 * 8)),
        (layers.Conv2DTranspose(8, 3, 2, padding="same"), (10, 10, 4), 100 * 9 * 4 * 8),
        (SqueezeExcite(16), (10, 10, 64), 2 * 64 * 4),
        (layers.MaxPooling2D(2), (10, 10, 4), 0),
    ],
)
def test_each_kind_of_layer_is_counted_by_its_formula(layer, shape, multiply_adds):
    assert cost_of(layer, shape).multiply_adds == multiply_adds


@pytest.mark.parametrize(
    ("naive", "channels", "weights", "biases", "millions"),
    [
        (True, 416, 387_072, 224, [9.6, 173.4, 120.4]),
        (False, 256, 163_328, 368, [9.6, 14.5, 86.7, 2.4, 10.0, 4.8]),
    ],
)
def test_inception_modules_cost_what_the_table_says(naive, channels, weights, biases, millions):
    inputs = keras.Input((28, 28, 192))
    conv = ConvBN(batch_norm=False, bias=True)
    cost = flops.count(keras.Model(inputs, inception(inputs, FIRST_MODULE, conv, "x", naive)))
    assert cost.layers[-1].output_shape == (28, 28, channels)
    assert cost.parameters == weights + biases
    counted = sorted(layer.multiply_adds / 1e6 for layer in cost.layers if layer.multiply_adds)
    assert counted == pytest.approx(sorted(millions), abs=0.05)
    assert cost.multiply_adds == 28 * 28 * weights


@pytest.mark.parametrize(
    ("name", "billions"),
    [("resnet18", 1.8), ("resnet34", 3.6), ("resnet50", 4.1), ("vgg16", 15.5)],
)
def test_imagenet_networks_cost_what_the_papers_say(name, billions):
    cost = flops.estimate(lambda: zoo.build(name, image_size=(224, 224)))
    assert cost.multiply_adds / 1e9 == pytest.approx(billions, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "billions"), [("resnet101", 7.8), ("resnet152", 11.5), ("senet154", 20.7)]
)
def test_deep_networks_cost_what_the_papers_say(name, billions):
    cost = flops.estimate(lambda: zoo.build(name, image_size=(224, 224)))
    assert cost.multiply_adds / 1e9 == pytest.approx(billions, abs=0.1)


def test_a_network_inside_a_network_is_counted_layer_by_layer():
    trunk = zoo.build("lenet5", image_size=(28, 28), channels=1, num_classes=10)
    inputs = keras.Input((28, 28, 1))
    nested = flops.count(keras.Model(inputs, layers.Dense(3)(trunk(inputs))))
    assert nested.multiply_adds == flops.count(trunk).multiply_adds + 30
    assert nested.parameters == 44_426 + 33
    assert "lenet5/conv1" in [layer.name for layer in nested.layers]


def test_trainable_parameters_leave_out_statistics_and_frozen_layers():
    model = zoo.build("mlp", features=4, num_classes=3, batch_norm=True)
    assert flops.count(model).parameters - flops.count(model).trainable_parameters == 100
    model.trainable = False
    assert flops.count(model).trainable_parameters == 0


def test_an_estimate_counts_the_same_and_leaves_nothing_behind():
    def build():
        return zoo.build("se_resnet18", image_size=(32, 32), num_classes=10)

    estimated = flops.estimate(build)
    assert estimated == flops.count(build())
    later = layers.Dense(2)
    later.build((None, 3))
    assert later.kernel.numpy().shape == (3, 2)


def test_a_map_of_unknown_size_cannot_be_counted():
    with pytest.raises(
        ValueError, match=r"unknown size \(None, None\). Build the model for a fixed"
    ):
        cost_of(layers.Conv2D(8, 3), (None, None, 3))
