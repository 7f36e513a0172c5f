import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from pipeline import exif, preprocess

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
PIXELS[:8] //= 4  # darker above than below, so that no turn looks like another


def photograph(orientation: int | None, endian: str = "<", file_format: str = "JPEG") -> bytes:
    tags = Image.Exif()
    tags.endian = endian
    tags[0x010F] = "Maker"
    if orientation is not None:
        tags[0x0112] = orientation
    buffer = io.BytesIO()
    quality = {"lossless": True} if file_format == "WebP" else {"quality": 95}
    Image.fromarray(PIXELS).save(buffer, format=file_format, exif=tags, **quality)
    return buffer.getvalue()


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_orientation_is_turned_as_pil_turns_it(value, endian):
    encoded = photograph(value, endian)
    assert exif.orientation(tf.constant(encoded)) == value
    ours = preprocess.decode(encoded, None, 3).numpy().astype(int)
    pil = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))).astype(int)
    assert ours.shape == pil.shape
    assert np.abs(ours - pil).mean() < 3  # the fast DCT against the accurate one; a wrong turn: 80


@pytest.mark.parametrize("file_format", ["PNG", "WebP"])
@pytest.mark.parametrize("value", range(1, 9))
def test_other_formats_are_turned_alike(value, file_format):
    encoded = photograph(value, "<>"[value % 2], file_format)
    assert exif.orientation(tf.constant(encoded)) == value
    pil = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    assert np.array_equal(preprocess.decode(encoded, None, 3), pil)


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def test_exif_behind_the_pixels_of_a_png_counts_too():
    first, exif_chunk, rest = photograph(6, file_format="PNG").partition(b"eXIf")
    length = int.from_bytes(first[-4:], "big")
    content, rest = rest[:length], rest[length + 4 :]
    end = rest.index(b"IEND") - 4
    moved = first[:-4] + rest[:end] + chunk(exif_chunk, content) + rest[end:]
    assert exif.orientation(tf.constant(moved)) == 6
    assert preprocess.decode(moved, None, 3).shape == (24, 16, 3)


def test_exif_with_the_prefix_of_jpeg_is_read_in_a_webp():
    encoded = photograph(8, file_format="WebP")
    start = encoded.index(b"EXIF")
    content = b"Exif\0\0" + encoded[start + 8 :]
    moved = encoded[: start + 4] + struct.pack("<I", len(content)) + content
    assert exif.orientation(tf.constant(moved)) == 8


def test_a_png_of_chunks_without_end_is_not_read_to_its_end():
    head = photograph(None, file_format="PNG")[:33]
    many = head + chunk(b"teXt", b"") * exif.MOST_CHUNKS + chunk(b"eXIf", b"II*\0")
    assert exif.orientation(tf.constant(many)) == 1


@pytest.mark.parametrize(
    "encoded",
    [
        photograph(None),
        photograph(3, file_format="PNG").replace(b"eXIf", b"eXIg"),
        photograph(3).replace(b"Exif\0\0", b"Exof\0\0"),
        photograph(9),
        b"\xff\xd8\xffExif\0\0II*\0\xff\xff\xff\xff",
        b"\xff\xd8\xffExif\0\0",
        b"\xff\xd8\xff",
        b"",
    ],
    ids=["no tag", "no JPEG", "no Exif", "no such value", "wild offset", "cut", "bare", "empty"],
)
def test_what_says_nothing_of_orientation_stays_as_it_is(encoded):
    assert exif.orientation(tf.constant(encoded)) == 1
