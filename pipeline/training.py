"""Training batches: shuffled, augmented, prepared, and the same ones again from the same seed."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.augment import Augment
from pipeline.config import DataConfig
from pipeline.examples import Examples
from pipeline.standardize import Preparation

EPOCH_SEED_STRIDE = 1_000_003  # a prime: neighbouring seeds share no epoch's order


@dataclass(frozen=True)
class Samples:
    """A few training images before and after augmentation."""

    originals: np.ndarray  # uint8 [N, h, w, C]; larger than the augmented ones under random_crop
    augmented: np.ndarray  # uint8 [N, H, W, C]


@dataclass(frozen=True)
class Training:
    """Training batches: shuffled, augmented, prepared."""

    config: DataConfig
    augment: Augment | None  # vectors have none
    prepare: Preparation
    examples: Examples
    batch_size: int

    def epochs(self, first: int, skip: int = 0) -> tf.data.Dataset:
        """Give the endless batches from an epoch on, without its first `skip` batches."""
        batches = tf.data.Dataset.range(first, tf.int64.max).flat_map(self._epoch)
        batches = batches.skip(skip)  # before augmentation, which needs no batch but its own
        batches = batches.map(self._finish, tf.data.AUTOTUNE)
        if self.config.service is not None:  # each worker takes epochs of its own
            service = tf.data.experimental.service
            policy = service.ShardingPolicy.DYNAMIC
            batches = batches.apply(service.distribute(policy, self.config.service))
        return batches.prefetch(tf.data.AUTOTUNE)

    def anew(self) -> tf.data.Dataset:
        """Give one epoch, another at every iteration."""
        random = tf.data.Dataset.random(self.config.seed, rerandomize_each_iteration=True)
        batches = random.take(1).flat_map(self._epoch)
        return batches.map(self._finish, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    def sample(self, count: int) -> Samples:
        """Give the first training images of epoch 0, before and after augmentation."""
        if self.augment is None:
            return Samples(np.empty((0,)), np.empty((0,)))
        batches = tf.data.Dataset.range(1).flat_map(self._epoch).take(-(-count // self.batch_size))
        drawn = [
            (inputs, self.augment(inputs, labels, seed)[0]) for inputs, labels, seed in batches
        ]
        originals, augmented = (tf.concat(images, 0)[:count] for images in zip(*drawn, strict=True))
        augmented = tf.cast(tf.round(tf.cast(augmented, tf.float32)), tf.uint8)
        return Samples(originals.numpy(), augmented.numpy())

    def _epoch(self, epoch: Any) -> tf.data.Dataset:
        """Give (inputs, labels, int64 seed [2]) of one epoch."""
        tf.random.set_seed(1)  # of this function's graph alone: no seed set elsewhere has a say
        seed = tf.cast(epoch, tf.int64) * EPOCH_SEED_STRIDE + self.config.seed
        order = self.examples.dataset.shuffle(
            self.examples.shuffle_buffer, seed, reshuffle_each_iteration=False
        )
        batches = order.batch(self.batch_size, drop_remainder=True)  # static shape: one compilation
        return batches.enumerate().map(lambda step, pair: (*pair, tf.stack([seed, step])))

    @cached_property
    def _finish(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """The steps on a batch, traced once for all data sets made of it."""
        return tf.function(self._augment_and_prepare, autograph=False)

    def _augment_and_prepare(
        self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if self.augment is not None:
            inputs, labels = self.augment(inputs, labels, seed)  # on whole batches of bytes
        compiled = tf.function(self.prepare, jit_compile=True)  # one pass over memory: a sixth
        return compiled(inputs), labels  # float32 only for batches in flight
