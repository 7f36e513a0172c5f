"""What each training example is taught and how much it counts: label smoothing, class weights.

Both change training batches alone, so validation and test losses stay those of the labels.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from pipeline.dataset import SourceData
from trainer.config import TrainConfig

ClassWeights = Literal["balanced"] | Mapping[str, float] | None


def training_targets(
    batches: tf.data.Dataset, config: TrainConfig, source: SourceData
) -> tf.data.Dataset:
    """Smooth the labels of training batches and weigh their examples, as the job says.

    Without either, gives the batches as they are. Smoothed labels are shares of classes, float32
    [N, K]; weights are float32 [N], of mean 1 when balanced. A mixed image weighs what its classes
    weigh, by their shares. Raises ValueError when a weight is set for a class that does not exist.
    """
    classes = source.info.num_classes
    weights = class_weights(config.class_weights, source)
    if weights is None and not config.label_smoothing:
        return batches

    def teach(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        shares = labels if labels.shape.rank == 2 else tf.one_hot(labels, classes)
        smoothed = shares * (1 - config.label_smoothing) + config.label_smoothing / classes
        taught = smoothed if config.label_smoothing else labels
        if weights is None:
            return inputs, taught
        return inputs, taught, tf.linalg.matvec(shares, tf.constant(weights))

    return batches.map(teach, tf.data.AUTOTUNE)


def class_weights(wanted: ClassWeights, source: SourceData) -> np.ndarray | None:
    """Give how much each class counts, float32 [K], or None when all count alike."""
    if wanted is None:
        return None
    names = source.info.class_names
    if wanted == "balanced":
        return balanced(count_labels(source.slices["train"].read(), len(names)))
    table: Mapping[str, float] = wanted
    if unknown := set(table) - set(names):
        raise ValueError(
            f"train.class_weights: no class is named {', '.join(sorted(unknown))}. The classes: "
            f"{', '.join(names)}"
        )
    return np.array([table.get(name, 1.0) for name in names], np.float32)


def count_labels(examples: tf.data.Dataset, num_classes: int) -> np.ndarray:
    """Count the examples of each class, int64 [K], without decoding an image."""
    labels = examples.map(lambda example: example["label"], tf.data.AUTOTUNE).batch(4096)
    found: Any = np.zeros(num_classes, np.int64)
    for batch in labels.as_numpy_iterator():
        found = found + np.bincount(batch, minlength=num_classes)
    return np.asarray(found)


def balanced(counts: np.ndarray) -> np.ndarray:
    """Give weights in inverse proportion to the counts, float32 [K].

    Their mean over all examples is 1. A class without examples weighs 0.
    """
    present = counts > 0
    weights = counts.sum() / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0).astype(np.float32)
