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
from serving.pixels import check, cost, dimensions
from serving.settings import Limits


def encode(kind: str, width: int = 37, height: int = 21, **options: Any) -> bytes:
    file = io.BytesIO()
    PillowImage.new("RGB", (width, height)).save(file, kind, **options)
    return file.getvalue()


def files(*encoded: bytes) -> dict[str, Any]:
    return {"image_bytes": np.array([*encoded, b""], object)[:-1]}


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
    limits = Limits(pixels=1_000_000)
    check(files(png_bomb(1000, 1000)), limits)
    with pytest.raises(RequestError, match="60000 x 60000 pixels is larger than the limit of 1"):
        check(files(b"no image", png_bomb(60_000, 60_000)), limits)


def test_the_images_of_a_request_are_counted_together_and_scans_count_again():
    limits = Limits(request_pixels=3_000_000)
    check(files(*[png_bomb(1000, 1000)] * 3), limits)
    with pytest.raises(RequestError, match="more to decode than the 3000000 pixels"):
        check(files(*[png_bomb(1000, 1000)] * 4), limits)
    plain, progressive = (encode("JPEG", 1000, 1000, progressive=p) for p in (False, True))
    assert (cost(files(plain)), cost(files(progressive))) == (1_000_000, 3_000_000)  # ten scans
    many = progressive + b"\xff\xda" * 9
    with pytest.raises(RequestError, match="more to decode"):
        check(files(many), limits)


@pytest.mark.parametrize(
    ("encoded", "fault"),
    [
        (b"\xff\xd8" + b"\xff" * 10_000_000, ""),
        (b"\xff\xd8" + b"\xff\xe0\0\2" * 1_000_000, "a JPEG of more than 1000 segments"),
        (b"\xff\xd8" + b"\xff\xd0" * 1_000_000, "a JPEG of more than 1000 segments"),
        (b"GIF89a" + bytes(7) + b"\x21\0" + b"\1\0" * 1_000_000, "a GIF of more than 10000 bl"),
        (b"GIF89a" + bytes(7) + b"\x21\0\1\0\0" * 1_000_000, "a GIF of more than 10000 blocks"),
    ],
    ids=["padding", "empty segments", "lone markers", "blocks", "extensions"],
)
def test_a_header_is_given_up_and_not_searched_without_end(encoded: bytes, fault: str):
    """Each of these took minutes, or would, with all other requests waiting."""
    with pytest.raises(RequestError, match=fault) if fault else nullcontext():
        assert dimensions(encoded) is None


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
