"""Our layers compute what their papers say and survive saving."""

import keras
import numpy as np
import pytest

from trainer.grouped import GroupedConv2D
from trainer.layers import (
    ConvBN,
    LocalResponseNormalization,
    MinPooling2D,
    OverlappingPooling2D,
    SqueezeExcite,
)


def test_min_pooling_takes_the_smallest_of_each_window():
    image = np.array([[4, 3, 8, 7], [2, 9, 6, 5], [1, 1, 0, 2], [3, 4, 5, 6]], "float32")
    pooled = MinPooling2D(2)(image[None, :, :, None])
    np.testing.assert_array_equal(np.squeeze(pooled), [[2, 5], [1, 0]])


def test_min_pooling_ignores_padding():
    pooled = MinPooling2D(2, padding="same")(np.full((1, 3, 3, 1), 7.0))
    np.testing.assert_array_equal(np.squeeze(pooled), np.full((2, 2), 7.0))


def test_overlapping_windows_share_pixels():
    row = np.array([0, 0, 5, 0, 0], "float32")
    image = np.broadcast_to(row, (5, 5))[None, :, :, None]
    np.testing.assert_array_equal(np.squeeze(OverlappingPooling2D()(image)), [[5, 5], [5, 5]])


def test_windows_that_do_not_overlap_are_refused():
    with pytest.raises(
        ValueError, match=r"strides \(2, 2\) must be smaller than pool_size \(2, 2\)"
    ):
        OverlappingPooling2D(2, 2)


@pytest.mark.parametrize(
    "layer",
    [
        MinPooling2D(3, 2),
        OverlappingPooling2D(5, 3),
        LocalResponseNormalization(3, 1.0, 1e-5, 0.5),
        SqueezeExcite(8, "silu", "he_normal"),
        GroupedConv2D(8, 3, groups=4),
    ],
)
def test_layers_come_back_from_their_configuration(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()


def test_response_normalisation_follows_the_papers_formula():
    x = np.random.default_rng(0).normal(size=(2, 3, 3, 7)).astype("float32") * 50
    expected = np.empty_like(x)
    for c in range(7):
        neighbours = x[..., max(0, c - 2) : c + 3]
        activity = np.square(neighbours).sum(axis=-1)
        expected[..., c] = x[..., c] / (2 + 1e-4 * activity) ** 0.75
    np.testing.assert_allclose(LocalResponseNormalization()(x), expected, rtol=1e-5)


def test_response_normalisation_survives_large_half_precision_values():
    x = np.full((1, 1, 1, 5), 1000.0, "float16")
    y = LocalResponseNormalization(dtype="mixed_float16")(x)
    assert y.dtype == "float16"
    np.testing.assert_allclose(y[0, 0, 0, 2], 1000 / (2 + 1e-4 * 5e6) ** 0.75, rtol=1e-3)


def test_squeeze_and_excite_gates_channels_by_all_channels_means():
    layer = SqueezeExcite(reduction=2)
    layer.build((None, 4, 4, 4))
    squeeze, squeeze_bias, excite, excite_bias = (
        np.random.default_rng(i).normal(size=w.shape) for i, w in enumerate(layer.weights)
    )
    layer.set_weights([squeeze, squeeze_bias, excite, excite_bias])
    x = np.random.default_rng(9).normal(size=(2, 4, 4, 4)).astype("float32")
    squeezed = np.maximum(x.mean(axis=(1, 2)) @ squeeze + squeeze_bias, 0)
    gates = 1 / (1 + np.exp(-(squeezed @ excite + excite_bias)))
    np.testing.assert_allclose(layer(x), x * gates[:, None, None, :], rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (lambda: LocalResponseNormalization(depth=4), "depth must be an odd number of channels"),
        (lambda: SqueezeExcite(reduction=0), "reduction must be at least 1, not 0"),
    ],
)
def test_impossible_layers_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        layer()


def test_strided_convolutions_are_padded_alike_on_every_side():
    """A window of 3 every 2 pixels sees pixels -1, 0, 1 first; TensorFlow's "same" sees 0, 1, 2."""
    inputs = keras.Input((4, 4, 1))
    conv = ConvBN("linear", "ones", batch_norm=False)
    model = keras.Model(inputs, conv(inputs, 1, 3, strides=2, name="conv"))
    image = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    assert model(image)[0, 0, 0, 0] == 0 + 1 + 4 + 5
