"""A search space as KerasTuner declares it."""

from collections.abc import Mapping

import keras_tuner

from tuning.config import Choice, Dimension, FloatRange, IntRange

DEFAULT_SPACE: dict[str, Dimension] = {
    "train.learning_rate": FloatRange(bounds=(1e-4, 1e-2), sampling="log"),
    "train.batch_size": Choice(choice=[32, 64, 128]),
    "train.optimizer": Choice(choice=["adam", "rmsprop", "nesterov"]),
}


def declare(space: Mapping[str, Dimension]) -> keras_tuner.HyperParameters:
    """Declare every dimension up front.

    Values first seen inside a trial would stop parallel workers.
    """
    declared = keras_tuner.HyperParameters()
    for path, dimension in space.items():
        if isinstance(dimension, Choice):
            declared.Choice(path, dimension.choice)
        elif isinstance(dimension, IntRange):
            declared.Int(path, *dimension.bounds, step=dimension.step)
        else:
            declared.Float(path, *dimension.bounds, sampling=dimension.sampling)
    return declared


def ends(dimension: Dimension) -> list[str | int | float]:
    """Give the values that bound a dimension: if they are allowed, all between them are."""
    if isinstance(dimension, Choice):
        return list(dimension.choice)
    return list(dimension.bounds)
