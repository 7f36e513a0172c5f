import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline import preprocess

RGBA = np.random.default_rng(0).integers(0, 256, (6, 7, 4), dtype=np.uint8)


def encode(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=file_format)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "GIF"])
def test_grey_pixels_survive_a_lossless_format(file_format):
    grey = RGBA[..., 0]
    encoded = encode(grey, file_format)
    assert np.array_equal(preprocess.decode(encoded, None, 1)[..., 0], grey)
    assert np.array_equal(preprocess.decode(encoded, None, 3), np.repeat(grey[..., None], 3, -1))


def test_colour_becomes_the_luminance_that_pil_computes():
    ours = preprocess.decode(encode(RGBA[..., :3]), None, 1)[..., 0].numpy().astype(int)
    pil = np.asarray(Image.fromarray(RGBA[..., :3]).convert("L")).astype(int)
    assert np.abs(ours - pil).max() <= 1  # PIL truncates 16-bit integer weights


def test_every_grey_level_keeps_its_value_through_luminance():
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=-1)
    assert np.array_equal(preprocess.convert_channels(levels, 1)[0, :, 0], np.arange(256))


def test_alpha_is_dropped():
    assert np.array_equal(preprocess.decode(encode(RGBA), None, 3), RGBA[..., :3])


def test_jpeg_decodes_within_its_loss():
    flat = np.full((16, 16, 3), 128, np.uint8)
    decoded = preprocess.decode(encode(flat, "JPEG"), None, 3).numpy().astype(int)
    assert np.abs(decoded - 128).max() <= 2


def test_resize_to_the_own_size_changes_nothing():
    image = RGBA[..., :3]
    assert np.array_equal(preprocess.resize(tf.constant(image), (6, 7)), image)


def test_resize_keeps_the_mean_when_it_shrinks():
    image = np.zeros((64, 64, 1), np.uint8)
    image[:, ::2] = 200  # without antialiasing this turns to 0 or 200
    small = preprocess.resize(tf.constant(image), (8, 8)).numpy()
    assert np.abs(small.astype(int) - 100).max() <= 8


@pytest.mark.parametrize(
    ("scaling", "black", "white"),
    [
        ("unit", [0, 0, 0], [1, 1, 1]),
        ("tf", [-1, -1, -1], [1, 1, 1]),
        ("none", [0, 0, 0], [255, 255, 255]),
        ("caffe", [-103.939, -116.779, -123.68], [151.061, 138.221, 131.32]),
        ("torch", [-2.1179, -2.0357, -1.8044], [2.2489, 2.4286, 2.64]),
    ],
)
def test_scaling_maps_black_and_white(scaling, black, white):
    images = np.stack([np.zeros((1, 1, 3)), np.full((1, 1, 3), 255)]).astype(np.uint8)
    scaled = preprocess.scale(images, scaling)
    assert scaled.dtype == tf.float32
    assert np.allclose(scaled[:, 0, 0], [black, white], atol=1e-3)


def test_caffe_scaling_turns_rgb_into_bgr():
    red = preprocess.scale(np.array([[[[255, 0, 0]]]], np.uint8), "caffe")
    assert np.allclose(red, [[[[-103.939, -116.779, 131.32]]]])


@pytest.mark.parametrize("scaling", ["unit", "tf", "torch", "caffe", "none"])
def test_one_channel_is_scaled_too(scaling):
    assert preprocess.scale(np.zeros((2, 4, 4, 1), np.uint8), scaling).shape == (2, 4, 4, 1)
