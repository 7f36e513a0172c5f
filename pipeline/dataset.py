"""tf.data sets of batches, assembled from a prepared source."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from pipeline import preprocess
from pipeline.config import DataConfig
from pipeline.sources import open_source
from pipeline.splits import cut_splits

EPOCH_SEED_STRIDE = 1_000_003  # a prime: neighbouring seeds share no epoch's order


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before any training."""

    source: str
    digest: str  # sha256, hex: equal content has an equal digest
    class_names: tuple[str, ...]
    counts: dict[str, int]  # examples in train, validation and test
    shape: tuple[int, ...]  # of one example: (H, W, C) or (D,)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3


@dataclass(frozen=True)
class Splits:
    """Batches of (inputs float32 [N, *shape], labels int64 [N]).

    `train` gives another order at every iteration and drops the remainder, for a static shape;
    `validation` and `test` give every example exactly once, in a fixed order.
    `train_epochs(first)` is the endless training set from epoch `first` on: every epoch's order
    depends only on the seed and its number, so that an interrupted run can continue where it
    stopped.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    info: DataInfo
    train_epochs: Callable[[int], tf.data.Dataset]
    batch_size: int  # of training; at most the number of training examples
    steps_per_epoch: int


def load(config: DataConfig, batch_size: int = 128, scaling: preprocess.Scaling = "unit") -> Splits:
    """Prepare the source if need be and assemble its three splits.

    Raises ValueError when the source is missing or unsuitable, or its images differ in size and no
    size is set.
    """
    builder = open_source(config.source, Path(config.data_dir), config.beam_options)
    slices = cut_splits(builder, config)
    info = _describe(builder, config, {name: part.count for name, part in slices.items()})
    read = _Reader(builder, config, info, scaling)
    examples = {name: read.examples(part.instruction) for name, part in slices.items()}
    size = min(batch_size, info.counts["train"])  # a set smaller than a batch still trains

    def train_epoch(epoch: Any) -> tf.data.Dataset:
        tf.random.set_seed(1)  # of this function's graph alone: no seed set elsewhere has a say
        seed = tf.cast(epoch, tf.int64) * EPOCH_SEED_STRIDE + config.seed
        order = examples["train"].shuffle(
            config.shuffle_buffer, seed, reshuffle_each_iteration=False
        )
        return order.batch(size, drop_remainder=True)  # static shape: one compilation

    def train_epochs(first: int) -> tf.data.Dataset:
        epochs = tf.data.Dataset.range(first, tf.int64.max)
        return read.finish(epochs.flat_map(train_epoch))

    shuffled = examples["train"].shuffle(config.shuffle_buffer, config.seed)
    return Splits(
        train=read.finish(shuffled.batch(size, drop_remainder=True)),
        validation=read.finish(examples["validation"].batch(batch_size)),
        test=read.finish(examples["test"].batch(batch_size)),
        info=info,
        train_epochs=train_epochs,
        batch_size=size,
        steps_per_epoch=info.counts["train"] // size,
    )


@dataclass(frozen=True)
class _Reader:
    """The steps that the splits share."""

    builder: Any
    config: DataConfig
    info: DataInfo
    scaling: preprocess.Scaling

    def examples(self, instruction: Any) -> tf.data.Dataset:
        decoders = {"image": tfds.decode.SkipDecoding()} if self.info.is_image else None
        ds = self.builder.as_dataset(split=instruction, decoders=decoders, shuffle_files=False)
        ds = ds.map(self._decode, tf.data.AUTOTUNE)
        return ds.cache()  # decoded uint8, before anything random

    def finish(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        if self.info.is_image:
            batches = batches.map(
                self._scale, tf.data.AUTOTUNE
            )  # float32 only for batches in flight
        return batches.prefetch(tf.data.AUTOTUNE)

    def _decode(self, example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        if not self.info.is_image:
            return tf.ensure_shape(example["features"], self.info.shape), example["label"]
        height, width, channels = self.info.shape
        image = preprocess.decode(example["image"], (height, width), channels)
        return image, example["label"]

    def _scale(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return preprocess.scale(images, self.scaling), labels


def _describe(builder: Any, config: DataConfig, counts: dict[str, int]) -> DataInfo:
    features = builder.info.features
    return DataInfo(
        source=config.source,
        digest=_digest(builder),
        class_names=_class_names(features["label"], config),
        counts=counts,
        shape=_image_shape(features, config) if "image" in features else _vector_shape(features),
    )


def _vector_shape(features: Any) -> tuple[int, ...]:
    return tuple(features["features"].shape)


def _image_shape(features: Any, config: DataConfig) -> tuple[int, ...]:
    height, width = config.image_size or features["image"].shape[:2]
    if height is None or width is None:
        raise ValueError(
            f"data.image_size is not set, and the images of {config.source} have no common size; "
            "set it, for example to [224, 224]"
        )
    return height, width, config.channels


def _class_names(label: Any, config: DataConfig) -> tuple[str, ...]:
    names = config.class_names or tuple(label.names)
    if len(names) != label.num_classes:
        raise ValueError(
            f"data.class_names has {len(names)} names; {config.source} has {label.num_classes} "
            f"classes"
        )
    return names


def _digest(builder: Any) -> str:
    splits = sorted(
        (name, split.num_examples, split.num_bytes) for name, split in builder.info.splits.items()
    )
    return hashlib.sha256(f"{builder.info.full_name} {splits}".encode()).hexdigest()
