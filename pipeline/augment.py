"""Augmentation of whole batches inside tf.data: a function of the batch and its seed alone."""

import tensorflow as tf

from pipeline import affine, color
from pipeline.augment_config import AugmentConfig
from pipeline.mixing import KerasLayers
from pipeline.warp import Size, warp


class Augment:
    """Changes training batches as a job asks for; equal seeds give equal batches."""

    def __init__(self, config: AugmentConfig, shape: tuple[int, ...], num_classes: int) -> None:
        self.config, self.num_classes = config, num_classes
        self.size = Size(*shape[:2])
        self.layers = KerasLayers(config, shape[-1])
        if config.moves:
            affine.check_reach(config, Size(*(config.random_crop or self.size)), self.size)

    def __call__(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Change uint8 [N, h, w, C] into 0..255 [N, H, W, C], uint8 or float32.

        Labels are ids [N], and come back as float32 shares [N, K] when the job mixes images.
        `seed` is an int64 [2].
        """
        moves, colors, rest = tf.unstack(tf.random.split(seed, 3, alg="philox"))
        if self.config.moves:
            images = self._move(images, moves)  # all geometry at once, while pixels are bytes
        images = color.recolor(images, self.config, colors)
        if self.config.mixes:
            labels = tf.one_hot(labels, self.num_classes)
        return self.layers(images, labels, rest)

    def _move(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        count, height, width, _ = images.shape
        moves = affine.draw(self.config, seed, count, Size(height, width), self.size)
        coefficients = affine.coefficients(moves, self.size)
        return warp(images, coefficients, self.size, self.config.fill_mode, self.config.cval)
