"""One affine transform of a batch of uint8 images, the linear blend of four pixels each.

Four small kernels that XLA compiles: channels packed into one word per pixel, coordinates as 16.16
integers, four gathers with the blend in words, and unpacking. Working on a few images at a time
keeps what passes between the kernels in the processor's cache: 0.5 ms of CPU for an image of
224x224x3 in pieces of 8, 1.3 ms for 128 at once, 2.1 ms by ImageProjectiveTransformV3.
"""

from typing import NamedTuple

import tensorflow as tf

from pipeline.augment_config import FillMode

PIECE = 1 << 19  # pixels worked on at a time, at most: ten images of 224x224
FRACTION = 16  # bits of a coordinate below the point
ONE = 1 << FRACTION
FURTHEST = (1 << (31 - FRACTION)) - 1  # pixels that a coordinate can count, either way
LOW_BYTES = 0x00FF00FF  # two channels in one word, with room to multiply by 256
HIGH_BYTES = 0xFF00FF00  # the two between
HALVES = 0x00800080  # a half in either of them, to round

_shift_left, _shift_right = tf.bitwise.left_shift, tf.bitwise.right_shift
_and, _or = tf.bitwise.bitwise_and, tf.bitwise.bitwise_or


class Size(NamedTuple):
    """Pixels of an image."""

    height: int
    width: int


class Places(NamedTuple):
    """Where the pixels of the output lie in the input, each [N, H, W]."""

    index: tf.Tensor  # int32: the upper left of four pixels, in the flattened batch; -1 is outside
    right: tf.Tensor  # uint32 0..255: how far towards the right neighbour
    down: tf.Tensor  # uint32 0..255: how far towards the lower neighbour


def warp(
    images: tf.Tensor, coefficients: tf.Tensor, size: Size, fill_mode: FillMode, cval: float
) -> tf.Tensor:
    """Transform uint8 [N, h, w, C] (C at most 4) into uint8 [N, *size, C].

    Output pixel (x, y) shows the input at (a0 x + a1 y + a2, b0 x + b1 y + b2), where
    `coefficients` [N, 6] are a0, a1, a2, b0, b1, b2 and coordinates count from the centre of the
    upper left pixel. Outside the input `fill_mode` decides, as in `scipy.ndimage`.
    """
    sizes = _piece_sizes(images.shape[0], size.height * size.width)
    parts = zip(tf.split(images, sizes), tf.split(coefficients, sizes), strict=True)
    return tf.concat([_warp_piece(*part, size, fill_mode, round(cval)) for part in parts], 0)


def _piece_sizes(count: int, pixels: int) -> list[int]:
    """Cut a batch into equal pieces where it can be, as every other size is compiled anew."""
    fewest = min(count, -(-count * pixels // PIECE))
    even = [pieces for pieces in range(fewest, 2 * fewest) if count % pieces == 0]
    pieces = even[0] if even else fewest
    return [count * (i + 1) // pieces - count * i // pieces for i in range(pieces)]


def _warp_piece(
    images: tf.Tensor, coefficients: tf.Tensor, size: Size, fill_mode: FillMode, cval: int
) -> tf.Tensor:
    height, width, channels = images.shape[1:]
    places = _locate(coefficients, Size(height, width), size, fill_mode)
    return _unpack(_blend(_pack(images), places, width, cval), channels)


@tf.function(jit_compile=True)
def _pack(images: tf.Tensor) -> tf.Tensor:
    """Give one word per pixel, the first channel in its lowest byte, flat."""
    channels = tf.unstack(tf.cast(images, tf.uint32), axis=-1)
    word = channels[0]
    for place, channel in enumerate(channels[1:], start=1):
        word = _or(word, _shift_left(channel, _word(8 * place)))
    return tf.reshape(word, [-1])


@tf.function(jit_compile=True)
def _locate(coefficients: tf.Tensor, source: Size, size: Size, fill_mode: FillMode) -> Places:
    count = coefficients.shape[0]
    a0, a1, a2, b0, b1, b2 = tf.unstack(coefficients[:, :, None], axis=1)  # each [N, 1]
    columns = _along(a0, a1, a2, size)
    rows = _along(b0, b1, b2, size)
    x, y = _fold(columns, source.width, fill_mode), _fold(rows, source.height, fill_mode)
    image = tf.range(count)[:, None, None]
    index = (image * source.height + _shift_right(y, FRACTION)) * source.width
    index += _shift_right(x, FRACTION)
    if fill_mode == "constant":
        index = tf.where((x == columns) & (y == rows), index, -1)
    return Places(index, _weight(x), _weight(y))


def _along(by_x: tf.Tensor, by_y: tf.Tensor, start: tf.Tensor, size: Size) -> tf.Tensor:
    """Give one 16.16 coordinate of every output pixel, [N, H, W].

    Each row starts from a float, so that errors add up over no more than one row.
    """
    y = tf.range(size.height, dtype=tf.float32)[None, :]
    row = tf.cast(tf.round((by_y * y + start) * ONE), tf.int32)
    step = tf.cast(tf.round(by_x * ONE), tf.int32)
    return row[:, :, None] + step[:, :, None] * tf.range(size.width)[None, None, :]


def _fold(place: tf.Tensor, length: int, fill_mode: FillMode) -> tf.Tensor:
    """Bring 16.16 coordinates into 0..length-1, as scipy.ndimage does in each mode."""
    last = (length - 1) * ONE
    if fill_mode == "reflect":  # about the edges, half a pixel outside the outermost centres
        turned = _modulo(place + ONE // 2, 2 * length * ONE)
        place = tf.minimum(turned, 2 * length * ONE - 1 - turned) - ONE // 2
    if fill_mode == "wrap":  # scipy's period is length-1: the outermost pixels lie on each other
        place = tf.where((place < 0) | (place > last), _modulo(place, max(last, 1)), place)
    return tf.clip_by_value(place, 0, last)


def _modulo(place: tf.Tensor, period: int) -> tf.Tensor:
    """Divide in floats, as AVX2 divides no integers; what falls beside the edge is clipped."""
    turns = tf.floor(tf.cast(place, tf.float32) / period)
    return place - tf.cast(turns, tf.int32) * period


def _weight(place: tf.Tensor) -> tf.Tensor:
    return tf.cast(_and(_shift_right(place, FRACTION - 8), 255), tf.uint32)


@tf.function(jit_compile=True)
def _blend(words: tf.Tensor, places: Places, width: int, cval: int) -> tf.Tensor:
    """Blend four words for each output pixel, weights in 256ths that sum to 256.

    At the right and lower edge the neighbour beyond has weight 0: which one is read is no matter.
    """
    last = words.shape[0] - 1
    index = places.index
    corners = [
        tf.gather(words, tf.clip_by_value(index + i, 0, last)) for i in (0, 1, width, width + 1)
    ]
    both = _shift_right(places.right * places.down + _word(128), _word(8))
    weights = [
        _word(256) + both - places.right - places.down,
        places.right - both,
        places.down - both,
        both,
    ]
    even = _weighted([_and(corner, _word(LOW_BYTES)) for corner in corners], weights)
    odd = _weighted(
        [_and(_shift_right(corner, _word(8)), _word(LOW_BYTES)) for corner in corners], weights
    )
    blended = _or(
        _and(_shift_right(even, _word(8)), _word(LOW_BYTES)), _and(odd, _word(HIGH_BYTES))
    )
    return tf.where(index < 0, _word(cval * 0x01010101), blended)


def _weighted(values: list[tf.Tensor], weights: list[tf.Tensor]) -> tf.Tensor:
    products = [value * weight for value, weight in zip(values, weights, strict=True)]
    return tf.add_n(products) + _word(HALVES)


@tf.function(jit_compile=True)
def _unpack(words: tf.Tensor, channels: int) -> tf.Tensor:
    return tf.bitcast(words, tf.uint8)[..., :channels]


def _word(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)
