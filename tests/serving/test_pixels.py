"""Sizes of encoded images are read before they are decoded."""

import io
import struct
import zlib
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image as PillowImage
from tensorflow.core.example.example_pb2 import Example

from serving.client import Client
from serving.errors import RequestError, RequestRejected
from serving.pixels import check, dimensions


def encode(kind: str, width: int = 37, height: int = 21, **options: Any) -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (width, height)).save(file, kind, **options)
    return file.getvalue()


def png_bomb(width: int, height: int) -> bytes:
    """A valid PNG header that promises more than the file carries."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "comment": b"\xff\xc0 not a frame"}),
        ("GIF", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0"}),
    ],
)
def test_the_size_is_what_a_decoder_finds(kind: str, options: dict[str, Any]):
    encoded = encode(kind, **options)
    assert dimensions(encoded) == PillowImage.open(io.BytesIO(encoded)).size == (37, 21)


def test_a_gif_whose_frame_is_larger_than_its_screen_has_the_frame_s_size():
    encoded = bytearray(encode("GIF"))
    struct.pack_into("<HH", encoded, 6, 1, 1)
    assert dimensions(bytes(encoded)) == (37, 21)


def test_a_bomb_is_refused_by_its_header():
    check([png_bomb(1000, 1000)], limit=1_000_000)
    with pytest.raises(RequestError, match="60000 x 60000 pixels is larger than the limit of 1"):
        check([b"no image", png_bomb(60_000, 60_000)], limit=1_000_000)


def test_jpeg_xl_is_refused_by_name():
    with pytest.raises(RequestError, match="JPEG XL is not accepted. Send PNG, JPEG, GIF, BMP or"):
        dimensions(b"\xff\x0a....")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_file_cut_short_has_a_size_or_none_but_raises_nothing(kind: str):
    encoded = encode(kind)
    for length in range(len(encoded)):
        assert dimensions(encoded[:length]) in (None, (37, 21))


@given(
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"GIF89a", b"BM", b"RIFF....WEBP"]),
    st.binary(max_size=60),
)
@example(b"", b"\0\0\0\x0cJXL ....")
def test_random_bytes_raise_nothing_unless_they_begin_as_jpeg_xl(start: bytes, rest: bytes):
    encoded = start + rest
    jpeg_xl = encoded.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL "))
    with pytest.raises(RequestError, match="JPEG XL") if jpeg_xl else nullcontext():
        dimensions(encoded)


def test_the_server_refuses_a_bomb_alone_and_inside_an_example(server: Any):
    bomb = png_bomb(60_000, 60_000)
    example = Example()
    example.features.feature["image"].bytes_list.value.append(bomb)
    record = np.array([example.SerializeToString(), b""], object)[:1]
    with Client(server.grpc_address) as client:
        with pytest.raises(RequestRejected, match="60000 x 60000 pixels"):
            client.predict(bomb, model="shapes")
        with pytest.raises(RequestRejected, match="60000 x 60000 pixels"):
            client.infer({"examples": record}, model="shapes", signature="tf_example")
