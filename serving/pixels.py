"""How large an encoded image will be, read from its header, before a decoder makes room for it.

A few hundred bytes can promise gigapixels. Formats: PNG, JPEG, GIF, BMP and WebP specifications.
"""

import struct
from collections.abc import Iterable, Iterator

from serving.errors import RequestError

# Start-of-frame markers of JPEG (ITU T.81, table B.1): C0 to CF without DHT, JPG and DAC.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers that no length follows


def check(images: Iterable[bytes], limit: int) -> None:
    """Raises RequestError for an image of more than `limit` pixels; what is no image passes."""
    for encoded in images:
        width, height = dimensions(encoded) or (0, 0)
        if width * height > limit:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"an image of {width} x {height} pixels is larger than the limit of {limit} pixels",
            )


def dimensions(encoded: bytes) -> tuple[int, int] | None:
    """Width and height of an encoded image; None for a header that no format has.

    Raises RequestError for JPEG XL, which TensorFlow decodes but whose size is not read here.
    """
    try:
        return _dimensions(encoded)
    except (struct.error, IndexError, StopIteration):  # cut short: the decoder will say so
        return None


def _dimensions(data: bytes) -> tuple[int, int] | None:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", data, 16)
        return width, height
    if data.startswith(b"\xff\xd8"):
        return next(_jpeg_frames(data))
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


def _jpeg_frames(data: bytes) -> Iterator[tuple[int, int]]:
    position = 2
    while True:
        position = data.index(b"\xff", position) if b"\xff" in data[position:] else len(data)
        marker = data[position + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            yield width, height
        if marker == 0xFF:  # padding
            position += 1
        elif marker == 0 or marker in _ALONE:
            position += 2
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]


def _gif(data: bytes) -> tuple[int, int]:
    """The screen, or the first frame should that reach beyond it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[position] == 0x21:  # extensions: a label, then sub-blocks up to an empty one
        position += 2
        while data[position]:
            position += data[position] + 1
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
