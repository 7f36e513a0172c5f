"""From encoded bytes to what a network takes.

Training and the exported signatures call these same functions.
"""

from typing import Literal

import tensorflow as tf

from pipeline import exif, formats

Scaling = Literal["unit", "caffe", "torch", "tf", "none"]
Resize = Literal["antialias", "nearest"]
REVISION = 2  # raised whenever `decode` gives other pixels: it keys what is cached on disk

# RGB in 0..1: torchvision's constants, over ImageNet's training set.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# BGR in 0..255: subtracted by the VGG authors' Caffe models.
CAFFE_MEAN = (103.939, 116.779, 123.68)
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG and PIL's "L" mode


def decode(
    encoded: tf.Tensor,
    image_size: tuple[int, int] | None,
    channels: int,
    method: Resize = "antialias",
) -> tf.Tensor:
    """Decode one JPEG, PNG, BMP, WebP or GIF (its first frame) upright to uint8 [H, W, channels].

    Alpha is dropped; grey is repeated for 3 channels; colour becomes BT.601 luminance for 1.
    `image_size` (H, W) None keeps the image's own size. Fails with INVALID_ARGUMENT for what
    does not decode, and for what `formats` keeps from the decoder.
    """
    return _decode(tf.convert_to_tensor(encoded), image_size, channels, method)


@tf.function(autograph=False)  # traced once for all splits and signatures: 0.3 s each
def _decode(
    encoded: tf.Tensor, image_size: tuple[int, int] | None, channels: int, method: Resize
) -> tf.Tensor:
    pixels = exif.upright(formats.decode(encoded), encoded)
    if image_size is not None:
        pixels = resize(pixels, image_size, method)  # first: fewer pixels to convert
    return convert_channels(pixels, channels)


def convert_channels(pixels: tf.Tensor, channels: int) -> tf.Tensor:
    """Convert uint8 [H, W, 1..4] (grey, grey + alpha, RGB, RGBA) to [H, W, channels]."""
    grey = tf.shape(pixels)[-1] < 3
    if channels == 1:
        converted = tf.cond(grey, lambda: pixels[..., :1], lambda: _luminance(pixels[..., :3]))
    else:
        converted = tf.cond(
            grey, lambda: tf.repeat(pixels[..., :1], 3, axis=-1), lambda: pixels[..., :3]
        )
    return tf.ensure_shape(converted, [*pixels.shape[:-1], channels])


def resize(
    pixels: tf.Tensor, image_size: tuple[int, int], method: Resize = "antialias"
) -> tf.Tensor:
    """Resize uint8 [H, W, C] to uint8.

    antialias blends all pixels that fall on one, linearly; nearest takes one of them, as
    `ImageDataGenerator.flow_from_directory` does, in a third of the time.
    """
    if method == "nearest":
        return tf.image.resize(pixels, image_size, "nearest")
    resized = tf.image.resize(pixels, image_size, antialias=True)
    return tf.cast(tf.round(resized), tf.uint8)  # linear weights sum to 1: no value leaves 0..255


def scale(images: tf.Tensor, scaling: Scaling) -> tf.Tensor:
    """Scale 0..255 [..., C] to the float32 range that a network's weights expect.

    unit: 0..1. tf: -1..1. torch: 0..1, then ImageNet's mean and deviation. caffe: BGR less
    ImageNet's mean, 0..255 wide. none: 0..255. One channel uses the mean over the colours'
    statistics.
    """
    pixels = tf.cast(images, tf.float32)
    if scaling == "unit":
        return pixels / 255.0
    if scaling == "tf":
        return pixels / 127.5 - 1.0
    if scaling == "torch":
        return (pixels / 255.0 - _statistic(IMAGENET_MEAN, images)) / _statistic(
            IMAGENET_STD, images
        )
    if scaling == "caffe":
        return tf.reverse(pixels, [-1]) - _statistic(CAFFE_MEAN, images)
    return pixels


def _statistic(values: tuple[float, ...], images: tf.Tensor) -> tf.Tensor:
    per_channel = values if images.shape[-1] == 3 else (sum(values) / len(values),)
    return tf.constant(per_channel, tf.float32)


def _luminance(pixels: tf.Tensor) -> tf.Tensor:
    weighted = tf.tensordot(tf.cast(pixels, tf.float32), tf.constant(LUMINANCE), 1)[..., None]
    return tf.cast(tf.round(weighted), tf.uint8)
