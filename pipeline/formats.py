"""What the decoder may be given, told by a file's first bytes.

TensorFlow's decoder is native code that believes what a file says of itself: that of 2.21 corrupts
the heap on an animated WebP, takes a palette's numbers for grey, and allocates whatever size a
header claims. Only what is known here goes to it. All of it is operations: the exported signatures
check what they are sent as the examination checks what is trained on.
"""

import re

import numpy as np
import tensorflow as tf

from pipeline.listing import SIGNATURES

JPEG_MAGIC = SIGNATURES["JPEG"]
PLAIN = "|".join(  # no side has 0x1f00 pixels; RE2 takes bytes from 0x80 on for characters
    (
        r"\CPNG\r\n\x1a\n\C{8}\x00\x00[\x00-\x1e]\C\x00\x00[\x00-\x1e]\C\C*",
        r"GIF8\C\C\C[\x00-\x1e]\C[\x00-\x1e]\C*",
        r"RIFF\C{4}WEBPVP8 \C{10}\C[\x00-\x1e]\C[\x00-\x1e]\C*",
    )
)
KINDS = tuple(SIGNATURES)  # a file's kind is its place here; behind the last: none of them
MOST_PIXELS = 64_000_000  # 8000 x 8000: above what cameras make, far below what fills the memory
TOO_LARGE = f"more than {MOST_PIXELS:,} pixels"
UNKNOWN = f"no image: expected {', '.join(KINDS)}"
EMPTY = "empty file"
ANIMATED = "an animated WebP; save one of its frames"
ODD_WEBP = "a WebP of an unknown kind"
ODD_BMP = "a BMP that is not 8, 24 or 32 bits deep and uncompressed; save it as PNG"
HEAD = 80  # bytes: sizes, and a BMP's colour masks
LONGEST = max(map(len, SIGNATURES.values()))
PALETTE = 256  # colours
BMP_HEADER = 14  # bytes before the header that says its own size
BMP_MASKS = 54  # where they stand
BGRA = bytes.fromhex("0000ff00 00ff0000 ff000000")  # masks of red, green and blue, little endian
FIELDS = {  # numbers in a head: where, of how many bytes, in which order
    "png_width": (16, 4, "big"),
    "png_height": (20, 4, "big"),
    "gif_width": (6, 2, "little"),
    "gif_height": (8, 2, "little"),
    "bmp_header": (BMP_HEADER, 4, "little"),
    "bmp_width": (18, 4, "little"),
    "bmp_height": (22, 4, "little"),
    "bmp_bits": (28, 2, "little"),
    "bmp_compression": (30, 4, "little"),
    "bmp_colours": (46, 4, "little"),
    "vp8l_sides": (21, 4, "little"),
    "vp8_width": (26, 2, "little"),
    "vp8_height": (28, 2, "little"),
    "vp8x_width": (24, 3, "little"),
    "vp8x_height": (27, 3, "little"),
}
UNCOMPRESSED, MASKED, ALPHA_MASKED = 0, 3, 6  # biCompression


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one image to uint8 [H, W, 1..4]; an animated one gives its first frame.

    Fails with INVALID_ARGUMENT and the reason. What most files are is told by one look at the
    first bytes: an operation of TensorFlow's costs a microsecond, taken or not, and a thumbnail is
    decoded in fifty.
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, len(JPEG_MAGIC)), JPEG_MAGIC)
    plain = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, HEAD), PLAIN)

    def other() -> tf.Tensor:
        return tf.cond(plain, lambda: _decode(encoded), lambda: _decode_with_care(encoded))

    pixels = tf.cond(is_jpeg, lambda: _decode(_unless(_jpeg(encoded), encoded)), other)
    return tf.ensure_shape(pixels, [None, None, None])


def _kind(head: tf.Tensor) -> tf.Tensor:
    """Return a file's place in KINDS, int32; their number when it is none of them."""
    padded = [magic.ljust(LONGEST, b".") for magic in SIGNATURES.values()]
    wanted = tf.constant([list(magic) for magic in padded], tf.int64)
    equal = (head[:LONGEST] == wanted) | (wanted == ord("."))
    found = tf.concat([tf.reduce_all(equal, axis=1), [True]], 0)
    return tf.argmax(found, output_type=tf.int32)


def reason(message: str) -> str:
    """Return what an operation found wrong, without where in a graph it stood."""
    told = re.split(r"\s*\[\[\{\{node|\s*\[Op:", message.strip())[0]
    line = re.sub(r"\{\{function_node .*?\}\} *", "", told.strip().splitlines()[-1])
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", line.strip())


@tf.function(autograph=False, experimental_attributes={"_noinline": True})  # one operation to skip
def _decode_with_care(encoded: tf.Tensor) -> tf.Tensor:
    head = tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=HEAD), tf.int64)
    kind, told = _kind(head), _numbers(head)
    pixels = _decode(_unless(_problem(encoded, head, kind, told), encoded))
    has_palette = tf.equal(kind, KINDS.index("BMP")) & tf.equal(told["bmp_bits"], 8)
    return tf.cond(has_palette, lambda: _coloured(pixels, _palette(encoded, told)), lambda: pixels)


def _numbers(head: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return what FIELDS names, int64: one product for all of them, whatever the format."""
    weights = np.zeros((len(FIELDS), HEAD), np.int64)
    for row, (place, size, order) in zip(weights, FIELDS.values(), strict=True):
        ascending = 256 ** np.arange(size)
        row[place : place + size] = ascending if order == "little" else ascending[::-1]
    return dict(zip(FIELDS, tf.unstack(tf.linalg.matvec(weights, head)), strict=True))


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    pixels.set_shape([None, None, None])
    return pixels


def _unless(problem: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Return the file when there is no problem ("") with it; what decodes it waits for that."""
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(problem, ""), [problem])]):
        return tf.identity(encoded)


def _problem(
    encoded: tf.Tensor, head: tf.Tensor, kind: tf.Tensor, told: dict[str, tf.Tensor]
) -> tf.Tensor:
    """Return what keeps a file that is no JPEG from the decoder; "" when nothing does."""
    webp_width, webp_height = _webp_size(told, head)
    widths = {"PNG": told["png_width"], "BMP": told["bmp_width"], "GIF": told["gif_width"]}
    heights = {"PNG": told["png_height"], "BMP": _bmp_rows(told), "GIF": told["gif_height"]}
    faults = {"BMP": _bmp_fault(told, head), "WebP": _webp_fault(told, head)}

    def of_its_kind(values: dict[str, tf.Tensor], none: tf.Tensor) -> tf.Tensor:
        return tf.stack([*(values.get(name, none) for name in KINDS), none])[kind]

    nothing = tf.constant(0, tf.int64)
    width = of_its_kind(widths | {"WebP": webp_width}, nothing)
    height = of_its_kind(heights | {"WebP": webp_height}, nothing)
    fault = of_its_kind(faults, tf.constant(""))
    fault = tf.where(kind == len(KINDS), tf.where(tf.equal(encoded, ""), EMPTY, UNKNOWN), fault)
    return tf.where(tf.equal(fault, ""), _too_large(width, height), fault)


def _coloured(pixels: tf.Tensor, palette: tf.Tensor) -> tf.Tensor:
    """Look the pixels of a BMP up in its palette: the decoder gives their numbers."""
    return tf.gather(palette, tf.cast(pixels[..., 0], tf.int32))


def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(encoded, tf.int64)  # fails with a reason where it has none
    return _too_large(shape[1], shape[0])


def _bmp_fault(told: dict[str, tf.Tensor], head: tf.Tensor) -> tf.Tensor:
    bits, compression = told["bmp_bits"], told["bmp_compression"]
    plain = tf.equal(compression, UNCOMPRESSED) & _any(bits, 8, 24, 32)
    masked = tf.equal(bits, 32) & _any(compression, MASKED, ALPHA_MASKED)
    taken = (told["bmp_header"] >= 40) & (plain | (masked & _equal(head, BMP_MASKS, BGRA)))
    return tf.where(taken, "", ODD_BMP)


def _bmp_rows(told: dict[str, tf.Tensor]) -> tf.Tensor:
    height = told["bmp_height"]
    return tf.minimum(height, 2**32 - height)  # a negative height: from top to bottom


def _webp_fault(told: dict[str, tf.Tensor], head: tf.Tensor) -> tf.Tensor:
    known = tf.reduce_any([_equal(head, 12, name) for name in (b"VP8 ", b"VP8L", b"VP8X")])
    animated = _equal(head, 12, b"VP8X") & tf.equal(head[20] // 2 % 2, 1)
    return tf.where(animated, ANIMATED, tf.where(known, "", ODD_WEBP))


def _webp_size(told: dict[str, tf.Tensor], head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return width and height of a lossy, lossless or extended WebP."""
    packed, side = told["vp8l_sides"], 1 << 14
    lossy = tf.stack([told["vp8_width"], told["vp8_height"]]) % side
    lossless = tf.stack([packed, packed // side]) % side + 1
    extended = tf.stack([told["vp8x_width"], told["vp8x_height"]]) + 1
    sides = tf.where(_equal(head, 12, b"VP8 "), lossy, lossless)
    sides = tf.where(_equal(head, 12, b"VP8X"), extended, sides)
    return sides[0], sides[1]


def _palette(encoded: tf.Tensor, told: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return the colours uint8 [256, 3]; black where the file names none."""
    used = told["bmp_colours"]
    count = tf.where((used > 0) & (used < PALETTE), used, PALETTE)
    size = tf.cast(tf.strings.length(encoded), tf.int64)
    start = tf.minimum(BMP_HEADER + told["bmp_header"], size)
    entries = tf.io.decode_raw(
        tf.strings.substr(encoded, start, 4 * count), tf.uint8, fixed_length=4 * PALETTE
    )
    return tf.reverse(tf.reshape(entries, [PALETTE, 4])[:, :3], [1])  # blue, green, red, nothing


def _too_large(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(width, tf.float64) * tf.cast(height, tf.float64)  # no product overflows
    return tf.where(pixels > MOST_PIXELS, TOO_LARGE, "")


def _equal(head: tf.Tensor, place: int, wanted: bytes) -> tf.Tensor:
    return tf.reduce_all(head[place : place + len(wanted)] == list(wanted))


def _any(value: tf.Tensor, *allowed: int) -> tf.Tensor:
    return tf.reduce_any(tf.equal(value, tf.constant(allowed, tf.int64)))
