"""Random changes of pixel values, as `ImageDataGenerator` makes them."""

import tensorflow as tf

from pipeline.augment_config import AugmentConfig


def recolor(images: tf.Tensor, config: AugmentConfig, seed: tf.Tensor) -> tf.Tensor:
    """Shift the channels of 0..255 images [N, H, W, C], then scale their brightness: float32.

    `seed` is an int64 [2]. Unchanged, and still uint8, when neither is asked for.
    """
    dice = tf.random.stateless_uniform([2, images.shape[0], 1, 1, 1], seed, alg="philox")
    if config.channel_shift_range:
        images = shift_channels(images, (2 * dice[0] - 1) * config.channel_shift_range)
    if config.brightness_range:
        low, high = config.brightness_range
        images = brighten(images, low + (high - low) * dice[1])
    return images


def shift_channels(images: tf.Tensor, amounts: tf.Tensor) -> tf.Tensor:
    """Add an amount [N, 1, 1, 1] to each image, within the range of values that it has."""
    images = tf.cast(images, tf.float32)
    low = tf.reduce_min(images, axis=(1, 2, 3), keepdims=True)
    high = tf.reduce_max(images, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value(images + amounts, low, high)


def brighten(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Multiply each image by a factor [N, 1, 1, 1], within 0..255."""
    return tf.clip_by_value(tf.cast(images, tf.float32) * factors, 0.0, 255.0)
