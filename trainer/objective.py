"""What training minimises: the loss of the main output, and of auxiliary classifiers if any."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from trainer.accumulation import accumulate
from trainer.config import JitMode, LossName, TrainConfig
from trainer.distribute import ReplicatedModel, reduce_gradients_first
from trainer.optimizers import make_optimizer

MAIN = "probabilities"  # the output that is exported
NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})


def compile_model(
    model: keras.Model,
    config: TrainConfig,
    loss_weights: Mapping[str, float] = NO_WEIGHTS,
    steps_per_epoch: int = 1,
) -> None:
    """Compile for either kind of labels, and build the optimizer's variables for states to fill.

    `loss_weights` tells how much the loss of an output counts, by its name; 1 where it is silent.
    `steps_per_epoch` gives the learning rate's schedule its length; evaluation needs none.
    """
    several = isinstance(model.output, dict)
    weights = {name: loss_weights.get(name, 1.0) for name in output_names(model)}
    with model.distribute_strategy.scope():
        model.compile(
            optimizer=make_optimizer(config, steps_per_epoch),
            loss=dict.fromkeys(weights, LOSSES[config.loss]) if several else LOSSES[config.loss],
            loss_weights=weights if several else None,
            metrics={MAIN: [accuracy]} if several else [accuracy],
            jit_compile=compiles(config.jit),
        )
        model.optimizer.build(model.trainable_variables)
        accumulate(model, config.accumulation_steps)
    if isinstance(model, ReplicatedModel):
        reduce_gradients_first(model.optimizer)


def compiles(jit: JitMode) -> bool:
    """Tell whether XLA compiles the training step."""
    if jit != "auto":
        return jit == "on"
    return bool(tf.config.list_physical_devices("GPU"))  # on CPUs compiling never pays


def cross_entropy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Give the cross-entropy [N] of probabilities [N, K], in nats.

    Labels are class ids [N], or shares of classes [N, K] where training mixes images: one epoch
    trains on the latter and validates on the former.
    """
    if _are_shares(labels, probabilities):
        return keras.losses.categorical_crossentropy(labels, probabilities)
    return keras.losses.sparse_categorical_crossentropy(labels, probabilities)


def focal(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Give the cross-entropy [N], each class's part times (1 - its probability) squared.

    Labels are those of `cross_entropy`. Lin et al. 2017, "Focal Loss for Dense Object Detection".
    """
    shares = _shares(labels, probabilities)
    return keras.losses.categorical_focal_crossentropy(shares, probabilities, alpha=1.0, gamma=2.0)


def squared_error(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Give the mean over classes of squared differences [N] from the labels of `cross_entropy`."""
    return keras.losses.mean_squared_error(_shares(labels, probabilities), probabilities)


LOSSES: Mapping[LossName, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "squared_error": squared_error,
}


def accuracy(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Give 1 where the most probable class is the label (its largest share), else 0: [N]."""
    if _are_shares(labels, probabilities):
        return keras.metrics.categorical_accuracy(labels, probabilities)
    return keras.metrics.sparse_categorical_accuracy(labels, probabilities)


def with_targets(model: keras.Model, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Repeat the labels, and the weights of examples if any, for every output of the model."""
    if not isinstance(model.output, dict):
        return batches
    names = output_names(model)
    return batches.map(lambda inputs, *rest: (inputs, *(dict.fromkeys(names, r) for r in rest)))


def main_logs(logs: dict[str, Any]) -> dict[str, float]:
    """Give the main output's loss and accuracy, named as in a network with no other output."""
    scores = {name: float(value) for name, value in logs.items()}
    main = {n.replace(f"{MAIN}_", ""): v for n, v in scores.items() if f"{MAIN}_" in n}
    return main or scores


def output_names(model: keras.Model) -> list[str]:
    """Give the names of the outputs."""
    return list(model.output) if isinstance(model.output, dict) else [MAIN]


def _shares(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    if _are_shares(labels, probabilities):
        return tf.cast(labels, probabilities.dtype)
    ids = tf.cast(tf.reshape(labels, [-1]), tf.int32)
    return tf.one_hot(ids, probabilities.shape[-1], dtype=probabilities.dtype)


def _are_shares(labels: tf.Tensor, probabilities: tf.Tensor) -> bool:
    return labels.shape.rank == 2 and labels.shape[-1] == probabilities.shape[-1]
