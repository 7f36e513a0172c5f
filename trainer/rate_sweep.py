"""A sweep of the learning rate, after Smith 2015, "Cyclical Learning Rates", section 3.3.

A fresh network takes a few steps at rates that grow exponentially. Where its loss falls fastest is
a good highest rate; where it rises again, rates are too high.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np

from pipeline.dataset import Splits
from trainer.config import TrainConfig
from trainer.distribute import shared_out
from trainer.loop import build_metrics
from trainer.objective import NO_WEIGHTS, compile_model, main_logs, with_targets
from trainer.optimizers import unscaled
from trainer.step import training_steps
from trainer.targets import training_targets

STEPS = 200  # at most; 25 for a tenfold rate, enough to average over the noise of batches
LOWEST, HIGHEST = 1e-7, 10.0  # from what moves nothing to what no optimizer bears
BEYOND_HOPE = 4.0  # times the lowest loss; fast.ai ends its sweeps there too
SMOOTHING = 0.8  # share of the running average that each loss leaves in place; lags by 4 steps
SETTLED = 10  # steps until that average is one of many losses, not of two that differ by chance


@dataclass(frozen=True)
class RateSweep:
    """The training loss of each step, and the rate that the step was taken at."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def smoothed(self) -> tuple[float, ...]:
        """Give running averages of the losses, corrected for their start at 0."""
        average, averages = 0.0, []
        for step, loss in enumerate(self.losses, 1):
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            averages.append(average / (1 - SMOOTHING**step))
        return tuple(averages)

    @property
    def suggestion(self) -> float | None:
        """Give the rate at which the smoothed loss falls fastest, per tenfold rate.

        The first steps do not count: their rates move nothing, and their average is of few losses.
        None when it never falls by a tenth: the sweep tells nothing then.
        """
        averages = np.array(self.smoothed)
        lowest = int(averages.argmin())
        if lowest <= SETTLED + 1 or averages[lowest] > 0.9 * averages[: lowest + 1].max():
            return None
        rates = self.rates[SETTLED : lowest + 1]
        slopes = np.gradient(averages[SETTLED : lowest + 1], np.log10(rates))
        return float(rates[int(slopes.argmin())])


def sweep(
    model: keras.Model,
    data: Splits,
    config: TrainConfig,
    loss_weights: Mapping[str, float] = NO_WEIGHTS,
    steps: int = STEPS,
) -> RateSweep:
    """Train a fresh network for a few steps, from LOWEST to HIGHEST rate; it is spoilt by that.

    Ends early when the loss is no longer finite, or beyond hope. The job's schedule is left out.
    """
    compile_model(model, config, loss_weights, data.steps_per_epoch)
    growth = HIGHEST / LOWEST
    unscaled(model.optimizer).learning_rate = keras.optimizers.schedules.ExponentialDecay(
        LOWEST, decay_steps=steps - 1, decay_rate=growth
    )
    build_metrics(model, with_targets(model, data.validation))
    taught = training_targets(data.train_epochs(0), config, data.source)
    batches = iter(
        model.distribute_strategy.experimental_distribute_dataset(
            shared_out(with_targets(model, taught))
        )
    )
    train = training_steps(model, batches)
    found = RateSweep((), ())
    for step in range(steps):
        model.reset_metrics()
        train(batches, config.accumulation_steps)  # an update is a step of the sweep
        loss = main_logs(model.get_metrics_result())["loss"]
        if not math.isfinite(loss):
            break
        rate = LOWEST * growth ** (step / (steps - 1))
        found = RateSweep((*found.rates, rate), (*found.losses, loss))
        if found.smoothed[-1] > BEYOND_HOPE * min(found.smoothed):
            break
    return found
