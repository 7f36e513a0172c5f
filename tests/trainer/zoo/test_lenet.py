"""The digit networks have the sizes that the paper and the course print."""

import pytest
from keras import layers

from trainer import zoo


@pytest.mark.parametrize(
    ("name", "side", "options", "parameters"),
    [
        ("lenet5", 28, {}, 44_426),
        ("lenet5", 32, {}, 61_706),
        ("lenet5", 32, {"activation": "relu"}, 61_706),
        ("mnist_cnn", 28, {}, 225_546),
        ("mnist_cnn", 28, {"first_kernel": 3}, 225_034),
    ],
)
def test_parameters_match_the_printed_summaries(name, side, options, parameters):
    model = zoo.build(name, image_size=(side, side), channels=1, num_classes=10, **options)
    assert model.count_params() == parameters


def test_lenet_is_sigmoid_as_in_1998_unless_told():
    def activations(**options):
        model = zoo.build("lenet5", image_size=(28, 28), channels=1, num_classes=10, **options)
        acts = [layer for layer in model.layers if layer.name.endswith("_act")]
        return {layer.activation.__name__ for layer in acts}

    assert activations() == {"sigmoid"}
    assert activations(activation="relu") == {"relu"}


def test_mnist_cnn_drops_what_the_course_drops():
    model = zoo.build("mnist_cnn", image_size=(28, 28), channels=1, num_classes=10)
    rates = [layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)]
    assert rates == [0.1, 0.25, 0.5]


@pytest.mark.parametrize("name", ["lenet5", "mnist_cnn"])
def test_pooling_can_be_any_of_three_kinds(name):
    for pooling, kind in [
        ("max", "MaxPooling2D"),
        ("average", "AveragePooling2D"),
        ("min", "MinPooling2D"),
    ]:
        model = zoo.build(name, image_size=(28, 28), channels=1, num_classes=10, pooling=pooling)
        pools = {type(layer).__name__ for layer in model.layers if layer.name.endswith("_pool")}
        assert pools == {kind}
