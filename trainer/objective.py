"""What training minimises: the loss of the main output, and of auxiliary classifiers if any."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import keras
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.optimizers import make_optimizer

MAIN = "probabilities"  # the output that is exported
NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})
LOSS = "sparse_categorical_crossentropy"


def compile_model(
    model: keras.Model, config: TrainConfig, loss_weights: Mapping[str, float] = NO_WEIGHTS
) -> None:
    """Compile for class-id labels, and build the optimizer's variables for a state to go into.

    `loss_weights` tells how much the loss of an output counts, by its name; 1 where it is silent.
    """
    several = isinstance(model.output, dict)
    weights = {name: loss_weights.get(name, 1.0) for name in output_names(model)}
    model.compile(
        optimizer=make_optimizer(config.optimizer, config.learning_rate),
        loss=dict.fromkeys(weights, LOSS) if several else LOSS,
        loss_weights=weights if several else None,
        metrics={MAIN: ["accuracy"]} if several else ["accuracy"],
        jit_compile=bool(tf.config.list_physical_devices("GPU")),  # on CPUs compiling never pays
    )
    model.optimizer.build(model.trainable_variables)


def with_targets(model: keras.Model, batches: tf.data.Dataset) -> tf.data.Dataset:
    """Repeat the labels for every output of the model."""
    if not isinstance(model.output, dict):
        return batches
    names = output_names(model)
    return batches.map(lambda inputs, labels: (inputs, dict.fromkeys(names, labels)))


def main_logs(logs: dict[str, Any]) -> dict[str, float]:
    """Give the main output's loss and accuracy, named as in a network with no other output."""
    scores = {name: float(value) for name, value in logs.items()}
    main = {n.replace(f"{MAIN}_", ""): v for n, v in scores.items() if f"{MAIN}_" in n}
    return main or scores


def output_names(model: keras.Model) -> list[str]:
    """Give the names of the outputs."""
    return list(model.output) if isinstance(model.output, dict) else [MAIN]
