"""The random moves of an image, drawn for a whole batch and joined into one affine transform.

The order is `ImageDataGenerator`'s: rotation, shift, shear and zoom about the centre, then flips.
Keras 3.15 gives the centre's row where its column belongs and moves columns by
`height_shift_range`; both are right here, and on square images only the latter differs.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from pipeline.augment_config import AugmentConfig, Shift
from pipeline.warp import FURTHEST, Size


class Moves(NamedTuple):
    """What happens to each image, every field float32 [N]."""

    angle: tf.Tensor  # radians
    right: tf.Tensor  # the output shows what lies so many pixels further right
    down: tf.Tensor
    shear: tf.Tensor  # radians
    zoom_x: tf.Tensor  # a factor below 1 enlarges
    zoom_y: tf.Tensor
    flip_x: tf.Tensor  # 0 or 1: mirrored left to right
    flip_y: tf.Tensor
    left: tf.Tensor  # where the window begins in an image larger than the output, pixels
    top: tf.Tensor


class _Dice(NamedTuple):
    """Uniform draws from [0, 1), every field float32 [N]."""

    angle: tf.Tensor
    right: tf.Tensor
    right_sign: tf.Tensor
    down: tf.Tensor
    down_sign: tf.Tensor
    shear: tf.Tensor
    zoom_x: tf.Tensor
    zoom_y: tf.Tensor
    flip_x: tf.Tensor
    flip_y: tf.Tensor
    left: tf.Tensor
    top: tf.Tensor


def draw(config: AugmentConfig, seed: tf.Tensor, count: int, source: Size, size: Size) -> Moves:
    """Draw the moves of `count` images of size `source`, to be shown in `size`.

    `seed` is an int64 [2]; equal seeds give equal moves on every device.
    """
    numbers = tf.random.stateless_uniform([len(_Dice._fields), count], seed, alg="philox")
    dice = _Dice(*tf.unstack(numbers))
    low, high = config.zooms
    return Moves(
        angle=_either_way(dice.angle, math.radians(config.rotation_range)),
        right=_shift(config.width_shift_range, size.width, dice.right, dice.right_sign),
        down=_shift(config.height_shift_range, size.height, dice.down, dice.down_sign),
        shear=_either_way(dice.shear, math.radians(config.shear_range)),
        zoom_x=low + (high - low) * dice.zoom_x,
        zoom_y=low + (high - low) * dice.zoom_y,
        flip_x=_coin(dice.flip_x, config.horizontal_flip),
        flip_y=_coin(dice.flip_y, config.vertical_flip),
        left=tf.floor(dice.left * (source.width - size.width + 1)),
        top=tf.floor(dice.top * (source.height - size.height + 1)),
    )


def coefficients(moves: Moves, size: Size) -> tf.Tensor:
    """Join the moves into float32 [N, 6], from output to input places, as `warp` takes them."""
    centre_x, centre_y = (size.width - 1) / 2, (size.height - 1) / 2
    cos, sin = tf.cos(moves.angle), tf.sin(moves.angle)
    sheared_cos, sheared_sin = tf.cos(moves.angle + moves.shear), tf.sin(moves.angle + moves.shear)
    x = (cos * moves.zoom_x, -sheared_sin * moves.zoom_y, cos * moves.right - sin * moves.down)
    y = (sin * moves.zoom_x, sheared_cos * moves.zoom_y, sin * moves.right + cos * moves.down)
    columns = _about(x, centre_x + moves.left, (centre_x, centre_y), moves)
    rows = _about(y, centre_y + moves.top, (centre_x, centre_y), moves)
    return tf.stack([*columns, *rows], axis=1)


def check_reach(config: AugmentConfig, source: Size, size: Size) -> None:
    """Raise ValueError when places may lie too far outside an image for `warp` to count."""
    zoom = max(config.zooms) * (size.height + size.width)
    shifts = (config.width_shift_range, size.width), (config.height_shift_range, size.height)
    reach = zoom + sum(_furthest(limit, extent) for limit, extent in shifts)
    allowed = FURTHEST - max(*source, *size)
    if reach > allowed:
        raise ValueError(
            f"data.augment: zoom_range, width_shift_range and height_shift_range together reach "
            f"{reach:,.0f} pixels beyond an image of {size.height}x{size.width}; at most "
            f"{allowed:,} are allowed, as places are counted in 16 bits and 16 behind the point"
        )


def _furthest(limit: Shift, extent: int) -> float:
    values = limit if isinstance(limit, tuple) else (limit,)
    shares = max(values, default=0) < 1
    return max(map(abs, values), default=0) * (extent if shares else 1)


def _about(
    line: tuple[tf.Tensor, ...], middle: tf.Tensor, centre: tuple[float, float], moves: Moves
) -> tuple[tf.Tensor, ...]:
    """Let a coordinate turn about the centre, and run backwards where the image is flipped.

    A flip takes x to 2 centre_x - x: about the centre it only turns the sign.
    """
    by_x = line[0] * (1 - 2 * moves.flip_x)
    by_y = line[1] * (1 - 2 * moves.flip_y)
    return by_x, by_y, line[2] + middle - by_x * centre[0] - by_y * centre[1]


def _either_way(dice: tf.Tensor, most: float) -> tf.Tensor:
    return (2 * dice - 1) * most


def _coin(dice: tf.Tensor, wanted: bool) -> tf.Tensor:
    return tf.cast(dice < (0.5 if wanted else 0.0), tf.float32)


def _shift(limit: Shift, extent: int, dice: tf.Tensor, sign_dice: tf.Tensor) -> tf.Tensor:
    """Give shifts in pixels, reading limits as ImageDataGenerator does: shares are of `extent`."""
    sign = tf.where(sign_dice < 0.5, -1.0, 1.0)
    if isinstance(limit, tuple):
        choices = tf.constant(limit, tf.float32)
        chosen = tf.gather(choices, tf.cast(dice * len(limit), tf.int32)) * sign
        return chosen * (extent if max(limit) < 1 else 1)
    if isinstance(limit, int) and limit > 0:
        return tf.floor(dice * limit) * sign
    return _either_way(dice, limit * (extent if limit < 1 else 1))
