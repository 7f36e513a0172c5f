"""Our layers compute what their papers say and survive saving."""

import keras
import numpy as np
import pytest

from trainer.layers import MinPooling2D, OverlappingPooling2D


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


@pytest.mark.parametrize("layer", [MinPooling2D(3, 2), OverlappingPooling2D(5, 3)])
def test_layers_come_back_from_their_configuration(layer):
    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
