"""Image files of every kind that is taken, and the damage that a fuzzer does to them."""

import io
import random
from typing import Any

import numpy as np
from PIL import Image

RGB = np.random.default_rng(0).integers(0, 256, (14, 18, 3), dtype=np.uint8)
RGB[:7] //= 3  # something for a compressor to do
EDGES = (*(bytes([edge]) for edge in (0, 1, 127, 128, 255)), b"\0" * 4, b"\xff" * 4, b"\x7f" * 4)


COLOURS = Image.fromarray(RGB)
GREY, PALETTE, ALPHA = COLOURS.convert("L"), COLOURS.quantize(16), COLOURS.convert("RGBA")
ALPHA.putalpha(Image.fromarray(RGB[..., 0]))
TAGS = Image.Exif()
TAGS[0x0112] = 6  # orientation
Kind = tuple[Image.Image, dict[str, Any]]  # an image, and how it is saved
KINDS: dict[str, list[Kind]] = {
    "JPEG": [
        (COLOURS, {}),
        (COLOURS, {"progressive": True}),
        (COLOURS, {"subsampling": 2, "exif": TAGS}),
        (GREY, {}),
        (COLOURS.convert("CMYK"), {}),
    ],
    "PNG": [
        (COLOURS, {}),
        (COLOURS, {"exif": TAGS}),
        (GREY, {}),
        (GREY.convert("1"), {}),
        (ALPHA, {}),
        (PALETTE, {"transparency": 0}),
        (Image.fromarray(RGB[..., 0].astype(np.uint16) * 257), {}),
    ],
    "BMP": [(COLOURS, {}), (PALETTE, {}), (GREY, {}), (ALPHA, {})],
    "GIF": [
        (PALETTE, {}),
        (PALETTE, {"interlace": 1}),
        (PALETTE, {"transparency": 0}),
        (PALETTE, {"save_all": True, "append_images": [PALETTE.rotate(90)]}),
    ],
    "WebP": [
        (COLOURS, {}),
        (COLOURS, {"lossless": True}),
        (COLOURS, {"exif": TAGS}),
        (ALPHA, {}),
        (ALPHA, {"lossless": True}),
        (COLOURS, {"save_all": True, "append_images": [COLOURS.rotate(90)]}),
        (ALPHA, {"save_all": True, "append_images": [ALPHA.rotate(90)], "lossless": True}),
    ],
}


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Return an image as a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def corpus(file_format: str) -> list[bytes]:
    """Return small files of a format, one of each of its kinds; animated ones come last."""
    return [encode(image, file_format, **options) for image, options in KINDS[file_format]]


def mutated(files: list[bytes], seed: str) -> bytes:
    """Return one of the files with one to six changes; the same for the same seed."""
    chance = random.Random(seed)
    data = bytearray(chance.choice(files))
    for _ in range(chance.randint(1, 6)):
        _change(data, chance, files)
    return bytes(data)


def _change(data: bytearray, chance: random.Random, files: list[bytes]) -> None:
    far = chance.random() < 0.3
    place = chance.randrange(len(data) if far else min(len(data), 64)) if data else 0
    length = chance.choice((1, 1, 2, 4, chance.randint(1, 40)))
    match chance.randrange(7):
        case 0 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 1 | 2:
            edge = chance.choice(EDGES)
            data[place : place + len(edge)] = edge
        case 3:
            data[place : place + length] = chance.randbytes(length)
        case 4:
            del data[place : place + length]
        case 5:
            other = chance.choice(files)
            start = chance.randrange(len(other))
            data[place:place] = other[start : start + length]
        case _:
            del data[chance.randrange(len(data) + 1) :]
