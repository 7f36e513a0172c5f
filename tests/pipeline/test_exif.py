import io

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
    Image.fromarray(PIXELS).save(buffer, format=file_format, exif=tags, quality=95)
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


@pytest.mark.parametrize(
    "encoded",
    [
        photograph(None),
        photograph(3, file_format="PNG"),
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
