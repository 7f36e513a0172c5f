"""The orientation that a camera wrote into a JPEG file: Exif 2.32, tag 0x0112.

It is read by TensorFlow operations, which run inside the exported signatures too: a served
photograph stands as upright as a trained one.
"""

import tensorflow as tf

SEARCHED = 4096  # Exif is the first segment, or the second after JFIF's 18 bytes
JPEG_MAGIC = b"\xff\xd8\xff"
EXIF_MAGIC = b"Exif\0\0"
EXIF_PATTERN = r"\C*Exif\x00\x00\C*"  # \C is any byte
ORIENTATION_TAG = 0x0112
ENTRY_SIZE = 12  # bytes of a directory entry: tag, type, count, value
LITTLE_ENDIAN = ord("I")


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Give the orientation 1..8 of an encoded image; 1 (upright) when it says nothing of it."""
    head = tf.strings.substr(encoded, 0, SEARCHED)
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, len(JPEG_MAGIC)), JPEG_MAGIC)
    has_exif = tf.strings.regex_full_match(head, EXIF_PATTERN)  # most lack it: a quarter less work
    return tf.cond(is_jpeg & has_exif, lambda: _find(head), _upright)


def upright(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn pixels [H, W, C] that are stored in an orientation 1..8 upright."""
    transposed = tf.transpose(pixels, [1, 0, 2])
    turned = [
        lambda: pixels,
        lambda: tf.reverse(pixels, [1]),
        lambda: tf.reverse(pixels, [0, 1]),
        lambda: tf.reverse(pixels, [0]),
        lambda: transposed,
        lambda: tf.reverse(transposed, [1]),
        lambda: tf.reverse(transposed, [0, 1]),
        lambda: tf.reverse(transposed, [0]),
    ]
    return tf.switch_case(orientation - 1, turned)


def _find(head: tf.Tensor) -> tf.Tensor:
    padding = "\0" * SEARCHED  # whatever offset the file claims, there is something to read
    data = tf.cast(tf.io.decode_raw(head + padding, tf.uint8), tf.int32)[: 2 * SEARCHED]
    places = tf.reduce_all(
        tf.stack([data[i : i - len(EXIF_MAGIC)] == byte for i, byte in enumerate(EXIF_MAGIC)]), 0
    )
    found = tf.where(places)[:, 0]
    return tf.cond(tf.size(found) > 0, lambda: _read(data, tf.cast(found[0], tf.int32)), _upright)


def _read(data: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Look for the tag in the first directory of the TIFF structure behind the magic bytes."""
    tiff = data[place + len(EXIF_MAGIC) :]
    little = tiff[0] == LITTLE_ENDIAN

    def number(offset: tf.Tensor) -> tf.Tensor:
        pair = [tf.gather(tiff, tf.clip_by_value(offset + i, 0, tf.size(tiff) - 1)) for i in (0, 1)]
        return tf.where(little, pair[0] + 256 * pair[1], pair[1] + 256 * pair[0])

    directory = number(tf.where(little, 4, 6))  # the low half of a 32-bit offset
    entries = directory + 2 + ENTRY_SIZE * tf.range(tf.minimum(number(directory), SEARCHED))
    values = tf.boolean_mask(number(entries + 8), number(entries) == ORIENTATION_TAG)
    value = tf.cond(tf.size(values) > 0, lambda: values[0], _upright)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _upright() -> tf.Tensor:
    return tf.constant(1)
