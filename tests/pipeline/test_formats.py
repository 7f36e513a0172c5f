"""What goes to the decoder and what does not, by files of every kind."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline import formats, preprocess
from pipeline.listing import SIGNATURES
from pipeline.sources.examination import decoding_problem
from tests.support.mutations import RGB, corpus, encode

COLOURS = Image.fromarray(RGB)


def bmp(bits: int, compression: int = 0, behind: bytes = b"", header: int = 40) -> bytes:
    """A BMP of 4x2 pixels that says this of itself; `behind` stands before the pixels."""
    row = (4 * bits + 31) // 32 * 4
    start = 14 + header + len(behind)
    head = struct.pack("<2sIHHI", b"BM", start + 2 * row, 0, 0, start)
    told = struct.pack("<IiiHHIIiiII", header, 4, 2, 1, bits, compression, 0, 0, 0, 0, 0)
    return head + told + behind + bytes(range(2 * row))


def pil(encoded: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))


def ours(encoded: bytes) -> np.ndarray:
    return preprocess.decode(tf.constant(encoded), None, 3).numpy()


@pytest.mark.parametrize("file_format", SIGNATURES)
def test_every_file_of_the_corpus_is_decoded_or_an_animated_webp(file_format):
    problems = {decoding_problem(encoded) for encoded in corpus(file_format)}
    assert problems == ({None, formats.ANIMATED} if file_format == "WebP" else {None})


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [True, False])
def test_an_animated_webp_never_reaches_the_decoder(mode, lossless):
    """The decoder of TensorFlow 2.21 writes past its buffer, and the process ends."""
    frames = [COLOURS.rotate(angle).convert(mode) for angle in (0, 90)]
    moving = encode(frames[0], "WebP", save_all=True, append_images=frames[1:], lossless=lossless)
    assert decoding_problem(moving) == formats.ANIMATED
    with pytest.raises(tf.errors.InvalidArgumentError, match="an animated WebP; save one of"):
        preprocess.decode(tf.constant(moving), (8, 8), 1)


@pytest.mark.parametrize("colours", [2, 16, 200, 256])
def test_a_bmp_with_a_palette_is_seen_in_its_colours(colours):
    encoded = encode(COLOURS.quantize(colours), "BMP")
    if encoded[28] == 8:  # bits of a pixel; Pillow writes fewer where they do
        assert np.array_equal(ours(encoded), pil(encoded))
    else:
        assert decoding_problem(encoded) == formats.ODD_BMP


def test_a_palette_of_a_few_colours_is_followed_by_black():
    encoded = bytearray(bmp(8, behind=bytes([10, 20, 30, 0])))
    encoded[46] = 1  # colours
    pixels = ours(bytes(encoded))
    assert pixels[1, 0].tolist() == [30, 20, 10]
    assert not pixels[0].any()


@pytest.mark.parametrize("file_format", ["BMP", "PNG", "GIF"])
def test_without_loss_our_pixels_are_pil_s(file_format):
    for encoded in corpus(file_format):
        image = Image.open(io.BytesIO(encoded))
        see_through = file_format == "GIF" and "transparency" in image.info  # black to TensorFlow
        if image.mode != "I;16" and b"eXIf" not in encoded and not see_through:
            assert np.array_equal(ours(encoded), pil(encoded))


MASKS = struct.pack("<3I", 0xFF0000, 0xFF00, 0xFF)


@pytest.mark.parametrize(
    "encoded",
    [
        *(bmp(1), bmp(4), bmp(16), bmp(8, compression=1), bmp(24, compression=4)),
        bmp(32, compression=3, behind=MASKS[::-1]),
        bmp(24, header=12),
    ],
    ids=["1 bit", "4 bits", "16 bits", "RLE", "JPEG inside", "other masks", "OS/2"],
)
def test_bmps_that_the_decoder_would_misread_are_refused(encoded):
    assert decoding_problem(encoded) == formats.ODD_BMP


def test_usual_masks_are_taken():
    assert np.array_equal(ours(bmp(32, 3, MASKS)), pil(bmp(32, 3, MASKS)))


LARGE = {
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 8001, 8000),
    "PNG whose sides are no integers": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\xff" * 8,
    "GIF": b"GIF89a" + struct.pack("<HH", 8001, 8000),
    "BMP": bmp(24)[:18] + struct.pack("<ii", 8001, 8000) + bmp(24)[26:],
    "BMP from top to bottom": bmp(24)[:18] + struct.pack("<ii", 8001, -8000) + bmp(24)[26:],
    "lossy WebP": b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 8001, 8000),
    "lossless WebP": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 8000 | 7999 << 14),
    "WebP": b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + (8000).to_bytes(3, "little") * 2,
    "JPEG": encode(Image.new("L", (8001, 8000)), "JPEG")[:1000],
}


@pytest.mark.parametrize("name", LARGE)
def test_a_file_that_claims_too_many_pixels_is_refused_by_its_header(name):
    assert decoding_problem(LARGE[name]) == formats.TOO_LARGE


@pytest.mark.parametrize(
    ("encoded", "problem"),
    [
        (b"", formats.EMPTY),
        (b"\0", formats.UNKNOWN),
        (encode(COLOURS, "TIFF"), formats.UNKNOWN),
        (b"\0\0\0\x1cftypavif" + bytes(40), formats.UNKNOWN),
        (b"\xff\x0a" + bytes(60), formats.UNKNOWN),
        (b"RIFF\0\0\0\0WAVEfmt " + bytes(60), formats.UNKNOWN),
        (b"RIFF\0\0\0\0WEBPABCD" + bytes(60), formats.ODD_WEBP),
    ],
    ids=["nothing", "a byte", "TIFF", "AVIF", "JPEG XL", "WAVE", "another WebP"],
)
def test_other_files_are_refused_by_name(encoded, problem):
    assert decoding_problem(encoded) == problem


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (encode(COLOURS, "JPEG")[:300], "JPEG"),
        (encode(COLOURS, "PNG")[:300], "PNG"),
        (encode(COLOURS, "WebP")[:100], "WebP"),
        (encode(COLOURS.quantize(16), "GIF")[:100], "GIF"),
        (encode(COLOURS, "BMP")[:100], "size"),
    ],
)
def test_the_reason_is_the_decoder_s(encoded, words):
    problem = decoding_problem(encoded) or ""
    assert words in problem
    assert not any(noise in problem for noise in ("Graph execution", "{{", "[Op", "\n"))
