"""The average of the weights, which is validated, tested and exported in their place.

The optimizer keeps it: Keras' `use_ema`, or schedule_free_adamw, whose weights in training are a
mixture of the average with the last ones. Keras' own callback exchanges weights and average by
adding and subtracting, which rounds; here the weights come back bit for bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from trainer.checkpoint import assign
from trainer.optimizers import unscaled


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Let a compiled model hold the averaged weights within the block, if its job averages."""
    optimizer = unscaled(model.optimizer)
    averages = _averages(optimizer)
    if averages is None:
        yield
        return
    weights = optimizer._trainable_variables
    kept = [weight.numpy() for weight in weights]
    assign(weights, averages)
    try:
        yield
    finally:
        assign(weights, kept)


def _averages(optimizer: Any) -> list[np.ndarray] | None:
    if optimizer.use_ema:
        return [average.numpy() for average in optimizer._model_variables_moving_average]
    if isinstance(optimizer, keras.optimizers.ScheduleFreeAdamW):
        return _schedule_free(optimizer)
    return None


def _schedule_free(optimizer: Any) -> list[np.ndarray]:
    """Give x of Defazio et al. 2024, "The road less scheduled", from the y that is trained.

    y = (1 - beta_1) z + beta_1 x, where z is what Keras calls the momentum.
    """
    share = optimizer.beta_1
    pairs = zip(optimizer._trainable_variables, optimizer._momentums, strict=True)
    return [(y.numpy() - (1 - share) * z.numpy()) / share for y, z in pairs]
