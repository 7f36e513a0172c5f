"""The orientation that a camera wrote into a JPEG, PNG or WebP file: Exif 2.32, tag 0x0112.

It is read by TensorFlow operations, which run inside the exported signatures too: a served
photograph stands as upright as a trained one. They are few, because every data set that decodes
takes the graph through TensorFlow's optimisers again, at 0.3 ms an operation.
"""

import numpy as np
import tensorflow as tf

from pipeline.listing import SIGNATURES

SEARCHED = 4096  # of a JPEG: Exif is its first segment, or the second after JFIF's 18 bytes
TOLD = r"\C*Exif\x00\x00\C*"  # by a JPEG; \C is any byte
TOLD_BY_WEBP = r"RIFF\C{4}WEBPVP8X\C{4}[\x08-\x0f\x18-\x1f\x28-\x2f\x38-\x3f]\C*"  # its flags
TOLD_BY_PNG = r"\CPNG\r\n\C*eXIf\C*"  # behind the pixels too, where older programs put it
ORIENTATION_TAG = 0x0112
PNG_CHUNKS, WEBP_CHUNKS = np.int64(8), np.int64(12)  # where the first one begins
ENTRY_SIZE = 12  # bytes of a directory entry: tag, type, count, value
LITTLE_ENDIAN = ord("I")
MOST_CHUNKS = 1000  # looked at in a file: more, and who sends them wants us to count
FLIPS = ((False, False), (False, True), (True, True), (True, False))  # rows, columns: 1 to 4
BIG_WEIGHTS = tuple(256**i for i in reversed(range(4)))  # of a number's bytes


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the orientation 1..8 of an encoded image; 1 (upright) when it says nothing of it."""
    return tf.cond(_tells(encoded), lambda: _orientation(encoded), lambda: tf.constant(1))


def upright(pixels: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Turn pixels [H, W, C] upright, as the file that they come from says.

    Most files say nothing, and theirs are not copied.
    """
    turned = tf.cond(_tells(encoded), lambda: _turned(pixels, encoded), lambda: pixels)
    return tf.ensure_shape(turned, [None, None, None])


def _tells(encoded: tf.Tensor) -> tf.Tensor:
    head = tf.strings.substr(encoded, 0, SEARCHED)
    told = tf.strings.regex_full_match(head, f"{TOLD}|{TOLD_BY_WEBP}")
    return told | tf.strings.regex_full_match(encoded, TOLD_BY_PNG)


@tf.function(autograph=False, experimental_attributes={"_noinline": True})  # one operation to skip
def _turned(pixels: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    place = _orientation(encoded) - 1
    transposed = tf.transpose(pixels, tf.where(place >= len(FLIPS), [1, 0, 2], [0, 1, 2]))
    axes = tf.where(tf.gather(FLIPS, place % len(FLIPS)))[:, 0]
    return tf.reverse(transposed, axes)


def _orientation(encoded: tf.Tensor) -> tf.Tensor:
    head = tf.strings.substr(encoded, 0, SEARCHED)
    in_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), SIGNATURES["JPEG"])
    in_jpeg &= tf.strings.regex_full_match(head, TOLD)
    segment = tf.strings.regex_replace(head, r"^\C*?Exif\x00\x00", "", replace_global=False)
    chunk = tf.strings.regex_replace(_chunk(encoded, head), r"^Exif\x00\x00", "")
    return _read(tf.where(in_jpeg, segment, chunk))


def _chunk(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Return what the chunk of a PNG or WebP that has Exif begins with; "" when there is none.

    PNG: big-endian length, name, content, checksum. WebP: name, little-endian length, even content.
    """
    size = tf.cast(tf.strings.length(encoded), tf.int64)
    in_png = tf.equal(tf.strings.substr(encoded, 0, 8), SIGNATURES["PNG"])
    in_webp = tf.strings.regex_full_match(head, TOLD_BY_WEBP)
    chunked = in_png | in_webp
    start = tf.where(chunked, tf.where(in_png, PNG_CHUNKS, WEBP_CHUNKS), size)
    name_at, wanted = tf.where(in_png, 4, 0), tf.where(in_png, b"eXIf", b"EXIF")
    weights = tf.where(in_png, BIG_WEIGHTS, BIG_WEIGHTS[::-1])

    def goes_on(place: tf.Tensor, steps: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return ~found & (place + 8 <= size) & (steps < MOST_CHUNKS)

    def look(place: tf.Tensor, steps: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        header = tf.strings.substr(encoded, place, 8)
        found = tf.equal(tf.strings.substr(header, name_at, 4), wanted)
        counted = tf.io.decode_raw(tf.strings.substr(header, 4 - name_at, 4), tf.uint8)
        length = tf.reduce_sum(tf.cast(counted, tf.int64) * tf.cast(weights, tf.int64))
        behind = place + length + 8 + tf.where(in_png, tf.constant(4, tf.int64), length % 2)
        return tf.where(found, place, behind), steps + 1, found

    place, _, found = tf.while_loop(goes_on, look, (start, tf.constant(0), tf.constant(False)))
    content = tf.strings.substr(encoded, tf.minimum(place + 8, size), SEARCHED)
    return tf.where(found, content, "")


def _read(content: tf.Tensor) -> tf.Tensor:
    """Look for the tag in the first directory of a TIFF structure."""
    padded = tf.io.decode_raw(content, tf.uint8, fixed_length=2 * SEARCHED)
    tiff = tf.cast(padded, tf.int32)  # whatever offset the file claims, there is something to read
    is_little = tiff[0] == LITTLE_ENDIAN
    first, second = tiff[:-1], tiff[1:]
    numbers = tf.where(is_little, first + 256 * second, second + 256 * first)  # one at each place

    def number(offset: tf.Tensor) -> tf.Tensor:
        return tf.gather(numbers, tf.clip_by_value(offset, 0, 2 * SEARCHED - 2))

    directory = number(tf.where(is_little, 4, 6))  # the low half of a 32-bit offset
    entries = directory + 2 + ENTRY_SIZE * tf.range(tf.minimum(number(directory), SEARCHED))
    told = tf.where(number(entries) == ORIENTATION_TAG)[:, 0]
    value = tf.concat([tf.gather(number(entries + 8), told), [1]], 0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)
