"""Pictures of filters and feature maps show what the layers hold and compute."""

import keras
import numpy as np
import pytest
from keras import layers

from trainer import feature_maps, zoo


def shown(figure):
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_filters_over_colours_are_drawn_as_colours():
    model = zoo.build("lenet5", image_size=(28, 28), channels=3, num_classes=5)
    pictures = shown(feature_maps.draw_filters(model))
    kernel = np.asarray(model.get_layer("conv1").kernel)[..., 4]
    assert len(pictures) == 6
    expected = (kernel - kernel.min()) / np.ptp(kernel)
    np.testing.assert_allclose(pictures[4], expected, atol=1e-6)


def test_filters_over_gray_images_are_drawn_gray():
    model = zoo.build("lenet5", image_size=(28, 28), channels=1, num_classes=5)
    assert [picture.shape for picture in shown(feature_maps.draw_filters(model))] == [(5, 5)] * 6


def test_maps_are_drawn_after_each_convolution_and_pooling():
    inputs = keras.Input((6, 6, 1))
    x = layers.Conv2D(2, 1, kernel_initializer="ones", name="first")(inputs)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D(2, name="second")(x)
    figure = feature_maps.draw_maps(keras.Model(inputs, x), np.eye(6, dtype="float32")[..., None])
    first, _, second, _ = shown(figure)
    np.testing.assert_array_equal(first, np.eye(6))
    np.testing.assert_array_equal(second, np.eye(3))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title for title in titles if title] == ["first 6×6×2", "second 3×3×2"]


def test_maps_are_those_after_normalisation_and_activation():
    model = zoo.build("lenet5", image_size=(28, 28), channels=1, num_classes=5, activation="relu")
    image = np.random.default_rng(0).random((28, 28, 1)).astype("float32")
    activated = keras.Model(model.input, model.get_layer("conv1_act").output)(image[None])
    channel = np.asarray(activated)[0, ..., 0]
    expected = (channel - channel.min()) / np.ptp(channel)
    np.testing.assert_allclose(shown(feature_maps.draw_maps(model, image))[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    "draw",
    [feature_maps.draw_filters, lambda model: feature_maps.draw_maps(model, np.zeros(4))],
)
def test_networks_without_convolutions_are_refused(draw):
    with pytest.raises(ValueError, match="mlp has no convolution"):
        draw(zoo.build("mlp", features=4, num_classes=3))
