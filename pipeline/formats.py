"""What the decoder may be given, told by a file's first bytes.

TensorFlow's decoder is native code that believes what a file says of itself: that of 2.21 corrupts
the heap on an animated WebP, takes a palette's numbers for grey, and allocates whatever size a
header claims. Only what is known here goes to it. All of it is operations: the exported signatures
check what they are sent as the examination checks what is trained on.
"""

import re

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


def read_head(encoded: tf.Tensor) -> tf.Tensor:
    """Return a file's first bytes, int64 [HEAD], zeros behind its end."""
    return tf.cast(tf.io.decode_raw(encoded, tf.uint8, fixed_length=HEAD), tf.int64)


def kind(head: tf.Tensor) -> tf.Tensor:
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
    head = read_head(encoded)
    pixels = _decode(_unless(_problem(encoded, head), encoded))
    return _coloured(pixels, encoded, head)


def _decode(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_image(encoded, channels=0, expand_animations=False)
    pixels.set_shape([None, None, None])
    return pixels


def _unless(problem: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Return the file when there is no problem ("") with it; what decodes it waits for that."""
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(problem, ""), [problem])]):
        return tf.identity(encoded)


def _problem(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    def unknown() -> tf.Tensor:
        return tf.where(tf.equal(encoded, ""), EMPTY, UNKNOWN)

    branches = {
        "JPEG": lambda: _jpeg(encoded),
        "PNG": lambda: _too_large(big(head, 16), big(head, 20)),
        "BMP": lambda: _bmp(head),
        "GIF": lambda: _too_large(little(head, 6, 2), little(head, 8, 2)),
        "WebP": lambda: _webp(head),
    }
    return tf.switch_case(kind(head), [*(branches[name] for name in KINDS), unknown])


def _coloured(pixels: tf.Tensor, encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Look the pixels of a BMP with a palette up in it: the decoder gives their numbers."""
    has_palette = tf.equal(kind(head), KINDS.index("BMP")) & tf.equal(little(head, 28, 2), 8)

    def look_up() -> tf.Tensor:
        return tf.gather(_palette(encoded, head), tf.cast(pixels[..., 0], tf.int32))

    return tf.cond(has_palette, look_up, lambda: pixels)


def little(data: tf.Tensor, place: int, size: int = 4) -> tf.Tensor:
    """Return the little-endian number at a place of bytes."""
    return tf.reduce_sum(data[place : place + size] * [256**i for i in range(size)])


def big(data: tf.Tensor, place: int, size: int = 4) -> tf.Tensor:
    """Return the big-endian number at a place of bytes."""
    return tf.reduce_sum(data[place : place + size] * [256**i for i in reversed(range(size))])


def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    shape = tf.image.extract_jpeg_shape(encoded, tf.int64)  # fails with a reason where it has none
    return _too_large(shape[1], shape[0])


def _bmp(head: tf.Tensor) -> tf.Tensor:
    bits, compression, height = little(head, 28, 2), little(head, 30), little(head, 22)
    plain = tf.equal(compression, UNCOMPRESSED) & _any(bits, 8, 24, 32)
    masked = tf.equal(bits, 32) & _any(compression, MASKED, ALPHA_MASKED)
    taken = (little(head, BMP_HEADER) >= 40) & (plain | (masked & _equal(head, BMP_MASKS, BGRA)))
    rows = tf.minimum(height, 2**32 - height)  # a negative height: from top to bottom
    return tf.where(taken, _too_large(little(head, 18), rows), ODD_BMP)


def _webp(head: tf.Tensor) -> tf.Tensor:
    lossy, lossless = _equal(head, 12, b"VP8 "), _equal(head, 12, b"VP8L")
    extended = _equal(head, 12, b"VP8X")
    packed, side = little(head, 21), 1 << 14
    width = tf.where(lossy, little(head, 26, 2) % side, packed % side + 1)
    height = tf.where(lossy, little(head, 28, 2) % side, packed // side % side + 1)
    width = tf.where(extended, little(head, 24, 3) + 1, width)
    height = tf.where(extended, little(head, 27, 3) + 1, height)
    known = tf.where(lossy | lossless | extended, _too_large(width, height), ODD_WEBP)
    animated = extended & tf.equal(head[20] // 2 % 2, 1)
    return tf.where(animated, ANIMATED, known)


def _palette(encoded: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Return the colours uint8 [256, 3]; black where the file names none."""
    used = little(head, 46)
    count = tf.where((used > 0) & (used < PALETTE), used, PALETTE)
    size = tf.cast(tf.strings.length(encoded), tf.int64)
    start = tf.minimum(BMP_HEADER + little(head, BMP_HEADER), size)
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
