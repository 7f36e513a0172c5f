"""tf.data sets of batches, assembled from a prepared source."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf

from pipeline import idle, preprocess, standardize
from pipeline.augment import Augment
from pipeline.config import DataConfig
from pipeline.examples import Reader
from pipeline.listing import LeftOut
from pipeline.sources import open_source
from pipeline.sources.cut import REVISION, classes_of, cut_splits
from pipeline.sources.examination import Quarantine
from pipeline.sources.source import passed_over, quarantined
from pipeline.sources.splits import Slice
from pipeline.standardize import Preparation
from pipeline.training import Samples, Training

ABOUT_IMAGES = ("image_size", "channels", "resize", "cache", "cache_limit_mb")  # of DataConfig
RULES_OF_IMAGES = ("undecodable", "near_duplicates", "upscaling", "channels", "brightness_shift")


@dataclass(frozen=True)
class DataInfo:
    """What is known of a data set before any training."""

    source: str
    digest: str  # sha256, hex: equal content, cut by the same rule, has an equal digest
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
class SourceData:
    """A prepared source, opened and cut: what both the data check and training read."""

    slices: dict[str, Slice]
    info: DataInfo
    quarantine: Quarantine  # files left out because they do not decode
    passed_over: LeftOut | None  # files in its directory that are none of its examples


class TrainEpochs(Protocol):
    """Gives the endless training set from an epoch on, without that epoch's first batches."""

    def __call__(self, first: int, skip: int = 0) -> tf.data.Dataset: ...


@dataclass(frozen=True)
class Splits:
    """Batches of (inputs float32 [N, *shape], labels int64 [N]).

    `train` gives another order at every iteration and drops the remainder, for a static shape;
    `validation` and `test` give every example exactly once, in a fixed order. Where the job mixes
    images, training labels are shares of classes, float32 [N, K].
    `train_epochs(first, skip)` is the endless training set from batch `skip` of epoch `first` on:
    every epoch's order and augmentation depend only on the seed and its number, so that an
    interrupted run can continue where it stopped.
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    source: SourceData
    info: DataInfo
    prepare: Preparation  # what every batch went through last, and served images go through
    train_epochs: TrainEpochs
    batch_size: int  # of training; at most the number of training examples
    steps_per_epoch: int
    sample: Callable[[int], Samples]  # the first training images; of vectors there are none


def load(config: DataConfig, batch_size: int = 128, scaling: preprocess.Scaling = "unit") -> Splits:
    """Prepare the source if need be and assemble its three splits.

    Raises ValueError when the source is missing or unsuitable, its images differ in size and no
    size is set, or the augmentation does not suit the data.
    """
    source = open_data(config)
    info = source.info
    _check_augmentation(config, info)
    unfitted = Preparation(info.shape, scaling, config.resize, config.augment)
    examples = Reader(config, info.digest, unfitted, source.slices).read()
    batched = {name: part.dataset.batch(batch_size) for name, part in examples.items()}
    prepare = standardize.fit(unfitted, batched["train"].map(lambda inputs, labels: inputs))
    size = min(batch_size, info.counts["train"])  # a set smaller than a batch still trains
    augment = Augment(config.augment, info.shape, info.num_classes) if info.is_image else None
    training = Training(config, augment, prepare, examples["train"], size)

    def evaluated(name: str) -> tf.data.Dataset:
        prepared = batched[name].map(lambda i, labels: (prepare(i), labels), tf.data.AUTOTUNE)
        return prepared.prefetch(tf.data.AUTOTUNE)

    return Splits(
        train=training.anew(),
        validation=evaluated("validation"),
        test=evaluated("test"),
        source=source,
        info=info,
        prepare=prepare,
        train_epochs=training.epochs,
        batch_size=size,
        steps_per_epoch=info.counts["train"] // size,
        sample=training.sample,
    )


def open_data(config: DataConfig) -> SourceData:
    """Prepare the source if need be, and cut it into its three splits.

    Raises ValueError when the source is missing or unsuitable, or its images differ in size and no
    size is set.
    """
    builder = open_source(config.source, Path(config.data_dir), config.beam_options)
    classes = classes_of(builder, config)
    slices = cut_splits(builder, config, classes)
    info = _describe(builder, config, slices, classes.names)
    return SourceData(slices, info, quarantined(builder), passed_over(builder))


def check_settings(config: DataConfig, info: DataInfo) -> None:
    """Raise ValueError for what does nothing where the source has vectors."""
    if not info.is_image:
        reason = f"{config.source} has vectors, and this is about images"
        idle.refuse(config, ABOUT_IMAGES, f"data: {reason}")
        idle.refuse(config.check, RULES_OF_IMAGES, f"data.check: {reason}")


def _check_augmentation(config: DataConfig, info: DataInfo) -> None:
    if not info.is_image and (fields := config.augment.needs_images):
        raise ValueError(
            f"data.augment: {', '.join(fields)} would change images, and {config.source} has "
            "vectors; allowed for vectors: the standardisation fields, rescale and validation_split"
        )
    crop = config.augment.random_crop
    if crop is not None and (crop[0] < info.shape[0] or crop[1] < info.shape[1]):
        raise ValueError(
            f"data.augment.random_crop {list(crop)} is smaller than the images of "
            f"{list(info.shape[:2])} that are cut out of it; expected at least data.image_size"
        )


def _describe(
    builder: Any, config: DataConfig, slices: dict[str, Slice], class_names: tuple[str, ...]
) -> DataInfo:
    features = builder.info.features
    return DataInfo(
        source=config.source,
        digest=_digest(builder),
        class_names=class_names,
        counts={name: part.count for name, part in slices.items()},
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


def _digest(builder: Any) -> str:
    splits = sorted(
        (name, split.num_examples, split.num_bytes) for name, split in builder.info.splits.items()
    )
    facts = f"{builder.info.full_name} {splits} cut {REVISION}"
    return hashlib.sha256(facts.encode()).hexdigest()
