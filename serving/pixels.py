"""How large an encoded image will be, read from its header, before a decoder makes room for it.

A few hundred bytes can promise gigapixels. Formats: PNG, JPEG, GIF, BMP and WebP specifications.
"""

import re
import struct
from collections.abc import Iterator, Mapping

from google.protobuf.message import DecodeError
from tensorflow.core.example.example_pb2 import Example

from serving.errors import RequestError
from serving.settings import Limits
from serving.tensors import Array

EXAMPLES = "examples"  # the input of a signature that takes serialized tf.Examples

# Start-of-frame markers of JPEG (ITU T.81, table B.1): C0 to CF without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset(range(0xD0, 0xD8)) | {0x00, 0x01}  # markers that no length follows
_FILL = re.compile(rb"\xff+")  # any number of them may stand before a marker
MOST_SEGMENTS = 1000  # photographs have some twenty, and a colour profile fills 255 at most
MOST_BLOCKS = 10_000  # of a GIF's extensions, 2 MB, before its first frame
SCANS = 4


def check(inputs: Mapping[str, Array], limits: Limits) -> None:
    """Raise RequestError for images whose decoding would take too long, by their headers."""
    total = 0
    for encoded in _images(inputs):
        width, height = dimensions(encoded) or (0, 0)
        if width * height > limits.pixels:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"an image of {width} x {height} pixels is larger than the limit of "
                f"{limits.pixels} pixels",
            )
        total += width * height * passes(encoded)
        if total > limits.request_pixels:
            raise RequestError(
                "INVALID_ARGUMENT",
                "the images of this request take more to decode than the "
                f"{limits.request_pixels} pixels that all may have together. Send several smaller "
                "requests",
            )


def cost(inputs: Mapping[str, Array]) -> int:
    """Return the pixels that are to be decoded, each as often as a decoder goes over it."""
    sizes = ((dimensions(encoded) or (0, 0), passes(encoded)) for encoded in _images(inputs))
    return sum(width * height * times for (width, height), times in sizes)


def _images(inputs: Mapping[str, Array]) -> Iterator[bytes]:
    """Every byte string that may be an image, inside of tf.Examples too."""
    for name, array in inputs.items():
        if array.dtype == object:
            yield from array.ravel()
            if name == EXAMPLES:
                for record in array.ravel():
                    yield from _byte_features(record)


def _byte_features(record: bytes) -> list[bytes]:
    """Every byte string in a serialized tf.Example; none when it cannot be parsed."""
    try:
        features = Example.FromString(record).features.feature.values()
    except DecodeError:  # the graph will say what is wrong
        return []
    return [value for feature in features for value in feature.bytes_list.value]


def passes(encoded: bytes) -> int:
    """How often a decoder goes over all pixels, in units of a plain image's one time.

    A progressive JPEG has about ten scans and takes twice as long as a plain one. Each begins with
    a marker that compressed data cannot contain; the few more in metadata do not matter.
    """
    scans = encoded.count(b"\xff\xda") if encoded.startswith(b"\xff\xd8") else 1
    return -(-scans // SCANS) or 1


def dimensions(encoded: bytes) -> tuple[int, int] | None:
    """Width and height of an encoded image; None for a header that no format has.

    Raises RequestError for JPEG XL, which TensorFlow decodes but whose size is not read here.
    """
    try:
        return _dimensions(encoded)
    except (struct.error, IndexError):  # cut short: the decoder will say so
        return None


def _dimensions(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data.startswith(b"\xff\xd8"):
        return _jpeg_frame(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith(b"BM"):
        return _bmp(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        raise RequestError(
            "INVALID_ARGUMENT", "JPEG XL is not accepted. Send PNG, JPEG, GIF, BMP or WebP."
        )
    return None


def _jpeg_frame(data: bytes) -> tuple[int, int] | None:
    """The size in the first frame's header; None where no frame comes within MOST_SEGMENTS."""
    position = 2
    for _ in range(MOST_SEGMENTS):
        start = _FILL.search(data, position)
        if start is None:
            return None
        marker, position = data[start.end()], start.end() + 1
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
        if marker not in _ALONE:
            position += struct.unpack_from(">H", data, position)[0]
    raise RequestError(
        "INVALID_ARGUMENT", f"a JPEG of more than {MOST_SEGMENTS} segments before its first frame"
    )


def _gif(data: bytes) -> tuple[int, int]:
    """The screen, or the first frame should that reach beyond it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while data[position] == 0x21:  # extensions: a label, then sub-blocks up to an empty one
        position += 2
        while data[position]:
            position += data[position] + 1
            blocks += 1
            if blocks > MOST_BLOCKS:
                raise RequestError(
                    "INVALID_ARGUMENT", f"a GIF of more than {MOST_BLOCKS} blocks before its frame"
                )
        position += 1
    if data[position] == 0x2C:
        left, top, across, down = struct.unpack_from("<HHHH", data, position + 1)
        return max(width, left + across), max(height, top + down)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    if struct.unpack_from("<I", data, 14)[0] == 12:  # the oldest header has 16-bit sizes
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height = struct.unpack_from("<ii", data, 18)  # a negative height runs top-down
    return abs(width), abs(height)


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return width, int.from_bytes(data[27:30], "little") + 1
    return None
