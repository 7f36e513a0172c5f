"""The orientation that a camera wrote into a JPEG, PNG or WebP file: Exif 2.32, tag 0x0112.

It is read by TensorFlow operations, which run inside the exported signatures too: a served
photograph stands as upright as a trained one.
"""

from collections.abc import Callable
from functools import partial

import tensorflow as tf

from pipeline import formats
from pipeline.formats import KINDS, big, little

SEARCHED = 4096  # of a JPEG: Exif is its first segment, or the second after JFIF's 18 bytes
EXIF_MAGIC = b"Exif\0\0"
TOLD = (  # by a JPEG, or a WebP's flags; \C is any byte
    r"\C*Exif\x00\x00\C*|RIFF\C{4}WEBPVP8X\C{4}[\x08-\x0f\x18-\x1f\x28-\x2f\x38-\x3f]\C*"
)
PNG_TOLD = r"\CPNG\r\n\C*eXIf\C*"
ORIENTATION_TAG = 0x0112
ENTRY_SIZE = 12  # bytes of a directory entry: tag, type, count, value
LITTLE_ENDIAN = ord("I")
HAS_EXIF = 8  # of a WebP's flags, at WEBP_FLAGS
WEBP_FLAGS = 20
MOST_CHUNKS = 1000  # looked at in a file: more, and who sends them wants us to count
Measure = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]  # chunk's 8 bytes -> wanted?, its size


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Give the orientation 1..8 of an encoded image; 1 (upright) when it says nothing of it."""
    head = formats.read_head(encoded)
    branches = {"JPEG": _in_jpeg, "PNG": _in_png, "WebP": lambda encoded: _in_webp(encoded, head)}

    named = [partial(branches[name], encoded) if name in branches else _upright for name in KINDS]
    return tf.switch_case(formats.kind(head), [*named, _upright])


def upright(pixels: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Turn pixels [H, W, C] upright, as the file that they come from says.

    Most files say nothing, and theirs are not copied.
    """
    head = tf.strings.substr(encoded, 0, SEARCHED)
    told = tf.strings.regex_full_match(head, TOLD) | tf.strings.regex_full_match(encoded, PNG_TOLD)
    turned = tf.cond(told, lambda: _turned(pixels, encoded), lambda: pixels)
    return tf.ensure_shape(turned, [None, None, None])


@tf.function(autograph=False, experimental_attributes={"_noinline": True})  # one operation to skip
def _turned(pixels: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
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
    return tf.switch_case(orientation(encoded) - 1, turned)


def _in_jpeg(encoded: tf.Tensor) -> tf.Tensor:
    return _find(tf.strings.substr(encoded, 0, SEARCHED))


def _in_png(encoded: tf.Tensor) -> tf.Tensor:
    """Look behind the pixels too, where older programs put it."""
    return _read(_png_exif(encoded))


def _in_webp(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    has_exif = tf.equal(head[WEBP_FLAGS] // HAS_EXIF % 2, 1)
    has_exif &= tf.equal(tf.strings.substr(encoded, 12, 4), "VP8X")

    def read() -> tf.Tensor:
        content = _webp_exif(encoded)
        prefixed = tf.equal(tf.strings.substr(content, 0, len(EXIF_MAGIC)), EXIF_MAGIC)
        return tf.cond(prefixed, lambda: _find(content), lambda: _read(content))

    return tf.cond(has_exif, read, _upright)


def _png_exif(encoded: tf.Tensor) -> tf.Tensor:
    def measure(header: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _is(header[4:], b"eXIf"), 12 + big(header, 0)  # length, name, content, checksum

    return _chunk(encoded, 8, measure)


def _webp_exif(encoded: tf.Tensor) -> tf.Tensor:
    def measure(header: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        length = little(header, 4)
        return _is(header[:4], b"EXIF"), 8 + length + length % 2  # name, length, even content

    return _chunk(encoded, 12, measure)


def _find(head: tf.Tensor) -> tf.Tensor:
    data = tf.io.decode_raw(head, tf.uint8, fixed_length=SEARCHED)
    places = tf.reduce_all(
        tf.stack([data[i : i - len(EXIF_MAGIC)] == byte for i, byte in enumerate(EXIF_MAGIC)]), 0
    )
    found = tf.where(places)[:, 0]

    def read() -> tf.Tensor:
        return _read(
            tf.strings.substr(head, tf.cast(found[0], tf.int32) + len(EXIF_MAGIC), SEARCHED)
        )

    return tf.cond(tf.size(found) > 0, read, _upright)


def _chunk(encoded: tf.Tensor, start: int, measure: Measure) -> tf.Tensor:
    """Return what the first wanted chunk from `start` on begins with; "" when there is none."""
    size = tf.cast(tf.strings.length(encoded), tf.int64)

    def goes_on(place: tf.Tensor, steps: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        return ~found & (place + 8 <= size) & (steps < MOST_CHUNKS)

    def look(place: tf.Tensor, steps: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, ...]:
        header = tf.io.decode_raw(tf.strings.substr(encoded, place, 8), tf.uint8, fixed_length=8)
        found, length = measure(tf.cast(header, tf.int64))
        return tf.where(found, place, place + length), steps + 1, found

    begin = (tf.constant(start, tf.int64), tf.constant(0), tf.constant(False))
    place, _, found = tf.while_loop(goes_on, look, begin)
    content = tf.strings.substr(encoded, tf.minimum(place + 8, size), SEARCHED)
    return tf.where(found, content, "")


def _read(content: tf.Tensor) -> tf.Tensor:
    """Look for the tag in the first directory of a TIFF structure."""
    padded = tf.io.decode_raw(content, tf.uint8, fixed_length=2 * SEARCHED)
    tiff = tf.cast(padded, tf.int32)  # whatever offset the file claims, there is something to read
    is_little = tiff[0] == LITTLE_ENDIAN

    def number(offset: tf.Tensor) -> tf.Tensor:
        pair = [tf.gather(tiff, tf.clip_by_value(offset + i, 0, tf.size(tiff) - 1)) for i in (0, 1)]
        return tf.where(is_little, pair[0] + 256 * pair[1], pair[1] + 256 * pair[0])

    directory = number(tf.where(is_little, 4, 6))  # the low half of a 32-bit offset
    entries = directory + 2 + ENTRY_SIZE * tf.range(tf.minimum(number(directory), SEARCHED))
    values = tf.boolean_mask(number(entries + 8), number(entries) == ORIENTATION_TAG)
    value = tf.cond(tf.size(values) > 0, lambda: values[0], _upright)
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _is(name: tf.Tensor, wanted: bytes) -> tf.Tensor:
    return tf.reduce_all(name == list(wanted))


def _upright() -> tf.Tensor:
    return tf.constant(1)
