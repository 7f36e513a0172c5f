"""Keras' random layers, driven by the seed of a batch.

The layers keep a counter of their own, so what they draw would depend on how many batches came
before; here every draw is a function of the seed alone, and an epoch can be made again.
"""

import keras
import tensorflow as tf

from pipeline.augment_config import AugmentConfig

Batch = tuple[tf.Tensor, tf.Tensor]  # images 0..255 [N, H, W, C], shares of classes [N, K]
RAND_AUGMENT_OPERATIONS = (  # attributes of keras.layers.RandAugment
    "random_shear",
    "random_translation",
    "random_rotation",
    "random_brightness",
    "random_color_degeneration",
    "random_contrast",
    "random_sharpness",
    "random_posterization",
    "solarization",
    "auto_contrast",
    "equalization",
)
GREY_OPERATIONS = tuple(n for n in RAND_AUGMENT_OPERATIONS if n != "random_color_degeneration")


class SeedSequence(keras.random.SeedGenerator):
    """Seeds drawn one after another from the seed of a batch."""

    def __init__(self, seed: tf.Tensor) -> None:
        self._seed, self._drawn = seed, 0  # no variable, unlike the parent: a batch starts anew

    def next(self, ordered: bool = True) -> tf.Tensor:
        """Give the next seed, uint32 [2]."""
        self._drawn += 1
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._drawn)
        return tf.cast(seed & 0x7FFFFFFF, tf.uint32)


class KerasLayers:
    """The layers that a job asks for, in one order: RandAugment, then mixing, then erasing."""

    def __init__(self, config: AugmentConfig, channels: int) -> None:
        self.config = config
        self.operations = RAND_AUGMENT_OPERATIONS if channels == 3 else GREY_OPERATIONS
        exact = {"dtype": "float32"}  # not the policy that happens to be set
        if config.rand_augment:
            self.rand_augment = keras.layers.RandAugment(factor=config.rand_augment, **exact)
        self.mixup = keras.layers.MixUp(alpha=config.mixup, **exact)
        self.cutmix = keras.layers.CutMix(factor=config.cutmix, **exact)
        self.erasing = keras.layers.RandomErasing(factor=config.random_erasing, **exact)

    def __call__(self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
        """Change a batch. `labels` are shares of classes when the job mixes, else ids."""
        seeds = SeedSequence(seed)
        if self.config.rand_augment:
            images = self._rand_augment(images, seeds)
        if self.config.mixes:
            images, labels = self._mix(images, labels, seeds)
        if self.config.random_erasing:
            images = _apply(self.erasing, images, seeds)
        return images, labels

    def _rand_augment(self, images: tf.Tensor, seeds: SeedSequence) -> tf.Tensor:
        """Run the operations drawn for this batch; Keras' own call runs all eleven each time."""
        images = tf.cast(images, tf.float32)
        for _ in range(self.config.rand_augment_operations):
            chosen = tf.random.stateless_uniform(
                [], seeds.next(), 0, len(self.operations), tf.int32, alg="philox"
            )
            layers = [getattr(self.rand_augment, name) for name in self.operations]
            images = tf.switch_case(
                chosen, [lambda x=images, layer=layer: _apply(layer, x, seeds) for layer in layers]
            )
        return images

    def _mix(self, images: tf.Tensor, labels: tf.Tensor, seeds: SeedSequence) -> Batch:
        if not (self.config.mixup and self.config.cutmix):
            return _blend(self.mixup if self.config.mixup else self.cutmix, images, labels, seeds)
        heads = tf.random.stateless_uniform([], seeds.next(), alg="philox") < 0.5
        return tf.cond(
            heads,
            lambda: _blend(self.mixup, images, labels, seeds),
            lambda: _blend(self.cutmix, images, labels, seeds),
        )


def _apply(layer: keras.layers.Layer, images: tf.Tensor, seeds: SeedSequence) -> tf.Tensor:
    transformation = layer.get_random_transformation(images, training=True, seed=seeds)
    return tf.ensure_shape(layer.transform_images(images, transformation), images.shape)


def _blend(
    layer: keras.layers.Layer, images: tf.Tensor, labels: tf.Tensor, seeds: SeedSequence
) -> Batch:
    transformation = layer.get_random_transformation(images, training=True, seed=seeds)
    return layer.transform_images(images, transformation), layer.transform_labels(
        labels, transformation
    )
