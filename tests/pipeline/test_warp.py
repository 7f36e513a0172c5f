import math
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from pipeline import color
from pipeline.affine import Moves, coefficients
from pipeline.augment_config import FillMode
from pipeline.warp import PIECE, Size, warp

RANDOM = np.random.default_rng(0)
SQUARE = Size(24, 24)
WIDE = (3, 7, 12, 3)  # of most images here: each other shape is compiled anew
LEVELS = 2.5  # of 255: weights are 256ths and coordinates 16.16; noise is the worst image for both


def moves(count: int = 1, **given) -> Moves:
    """Moves that change nothing but what is given."""
    still = dict.fromkeys(Moves._fields, 0.0) | {"zoom_x": 1.0, "zoom_y": 1.0}
    values = {name: np.broadcast_to(value, count) for name, value in (still | given).items()}
    return Moves(**{name: tf.constant(value, tf.float32) for name, value in values.items()})


def noise(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def transformed(images: np.ndarray, made: Moves, mode: FillMode = "nearest") -> np.ndarray:
    size = Size(*images.shape[1:3])
    return warp(tf.constant(images), coefficients(made, size), size, mode, 50).numpy()


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras'
@pytest.mark.parametrize("mode", get_args(FillMode))
@pytest.mark.parametrize("channels", [1, 3])
def test_every_move_is_the_one_that_image_data_generator_makes(mode, channels):
    count = 32
    images = noise(count, *SQUARE, channels)
    degrees, pixels = RANDOM.uniform(-180, 180, count), RANDOM.uniform(-30, 30, (2, count))
    shear, zooms = RANDOM.uniform(-40, 40, count), RANDOM.uniform(0.4, 2.5, (2, count))
    flips = RANDOM.integers(0, 2, (2, count))
    ours = moves(
        count,
        angle=np.radians(degrees),
        right=pixels[0],
        down=pixels[1],
        shear=np.radians(shear),
        zoom_x=zooms[0],
        zoom_y=zooms[1],
        flip_x=flips[0],
        flip_y=flips[1],
    )
    generator = ImageDataGenerator(fill_mode=mode, cval=50)
    names = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")
    theirs = [
        generator.apply_transform(image.astype("float32"), dict(zip(names, values, strict=True)))
        for image, *values in zip(images, degrees, *pixels, shear, *zooms, *flips, strict=True)
    ]
    difference = np.abs(transformed(images, ours, mode) - np.stack(theirs))
    # a pixel that lies on the very edge may fall to either side of it
    assert (difference > LEVELS).mean() < 1e-4
    assert difference.mean() < 0.5


@pytest.mark.parametrize("mode", get_args(FillMode))
def test_no_move_keeps_every_pixel(mode):
    images = noise(*WIDE)
    assert np.array_equal(transformed(images, moves(3), mode), images)


def test_shifts_go_the_way_that_they_are_named_on_images_of_any_shape():
    images = noise(*WIDE)
    assert np.array_equal(transformed(images, moves(3, down=2))[:, :5], images[:, 2:])
    assert np.array_equal(transformed(images, moves(3, right=3))[:, :, :9], images[:, :, 3:])


def test_wide_images_turn_about_their_own_centre():
    images = noise(*WIDE)
    assert np.array_equal(transformed(images, moves(3, angle=math.pi)), images[:, ::-1, ::-1])


def test_flips_mirror_exactly():
    images = noise(*WIDE)
    assert np.array_equal(transformed(images, moves(3, flip_x=1)), images[:, :, ::-1])
    assert np.array_equal(transformed(images, moves(3, flip_y=1)), images[:, ::-1])


def test_a_window_of_a_larger_image_is_cut_out_in_the_same_transform():
    image, size = noise(1, 12, 10, 3), Size(6, 4)
    window = warp(tf.constant(image), coefficients(moves(left=5, top=2), size), size, "nearest", 0)
    assert np.array_equal(window, image[:, 2:8, 5:9])


def test_a_batch_worked_on_in_pieces_equals_its_images_one_by_one():
    images = noise(7, 400, 400, 1)
    assert images.size > 2 * PIECE
    made = moves(7, angle=RANDOM.uniform(-1, 1, 7))
    alone = [
        transformed(images[i : i + 1], Moves(*(field[i : i + 1] for field in made)))
        for i in range(7)
    ]
    assert np.array_equal(transformed(images, made), np.concatenate(alone))


def test_far_away_is_still_inside():
    """Coordinates of a whole image further out than any fill mode repeats once."""
    images = noise(*WIDE)
    for mode in ("nearest", "reflect", "wrap"):
        assert transformed(images, moves(3, right=1000, down=-1000), mode).shape == images.shape
    assert np.all(transformed(images, moves(3, right=1000), "constant") == 50)


def test_channel_shift_and_brightness_are_image_data_generators():
    images, amounts, factors = noise(8, 9, 9, 3) // 2, RANDOM.uniform(-60, 60, 8), (0.3, 1.7)
    brightness = RANDOM.uniform(*factors, 8)
    generator = ImageDataGenerator()
    theirs = [
        generator.apply_transform(
            image.astype("float32"), {"channel_shift_intensity": amount, "brightness": factor}
        )
        for image, amount, factor in zip(images, amounts, brightness, strict=True)
    ]
    column = (8, 1, 1, 1)
    shifted = color.shift_channels(tf.constant(images), amounts.reshape(column).astype("float32"))
    ours = color.brighten(shifted, brightness.reshape(column).astype("float32"))
    assert np.abs(ours - np.stack(theirs)).max() <= max(factors) + 1  # theirs truncates twice
