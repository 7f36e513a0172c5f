"""The running average of the weights, which is validated, tested and exported in their place.

The optimizer keeps the average (Keras' `use_ema`). Keras' own callback exchanges it with the
weights by adding and subtracting, which rounds; here both come back bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from trainer.optimizers import unscaled


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Let a compiled model hold the averaged weights within the block, if its job averages."""
    exchange(model)
    try:
        yield
    finally:
        exchange(model)


def exchange(model: keras.Model) -> None:
    """Swap the weights and their average; without an average do nothing."""
    optimizer = unscaled(model.optimizer)
    if not optimizer.use_ema:
        return
    averages = optimizer._model_variables_moving_average
    for weight, average in zip(optimizer._trainable_variables, averages, strict=True):
        kept = weight.numpy()
        weight.assign(average.numpy())
        average.assign(kept)
