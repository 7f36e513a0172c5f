"""The model and train sections of a job, carried out on the devices at hand."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras

from pipeline.dataset import DataInfo, Splits
from trainer import distribute, network, precision, transfer, zoo
from trainer.accumulation import check_accumulation
from trainer.callbacks import Hooks
from trainer.config import ModelConfig, TrainConfig
from trainer.distribute import Strategy
from trainer.fit import FitResult
from trainer.network import Warn
from trainer.phases import fit_phases

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """What to train, how, and on which devices."""

    model: ModelConfig
    train: TrainConfig
    strategy: Strategy | None = None  # None is a single device

    def choose_precision(self, info: DataInfo) -> tuple[str, str]:
        """Give the Keras dtype policy for this machine and network, and why."""
        cost = partial(network.estimate_cost, self.model, info)
        return precision.choose(self.train.precision, cost)

    def start(self, info: DataInfo, policy: str, warn: Warn = log.warning) -> keras.Model:
        """Build the network that training starts from, under a Keras dtype policy.

        `warn` is told of weights that may not be the ones that were meant. Raises ValueError when
        they are missing, or the network has too few stages to thaw.
        """
        if self.strategy is None:
            return self._build(info, policy, warn)
        with self.strategy.scope():
            return distribute.replicate(self._build(info, policy, warn))

    def check_steps(self, data: Splits) -> None:
        """Raise ValueError when devices cannot train as asked, or too few are accumulated."""
        check_accumulation(self.train, data.steps_per_epoch)
        if self.strategy is not None:
            parts = self.train.accumulation_steps
            distribute.check_jit(self.strategy, self.train.jit)
            distribute.check_steps(self.strategy, data.batch_size, parts)

    def fit(self, model: keras.Model, data: Splits, directory: Path, hooks: Hooks) -> FitResult:
        """Train a network of `start`, continuing where `directory` has a state of it.

        Errors are those of trainer.fit.fit.
        """
        weights = zoo.MODELS[self.model.name].auxiliary_loss_weights
        return fit_phases(model, data, self.train, directory, hooks, weights)

    def _build(self, info: DataInfo, policy: str, warn: Warn) -> keras.Model:
        keras.utils.set_random_seed(self.train.seed)
        model = network.start(self.model, info, policy, warn)
        if self.train.frozen:
            thawed = self.train.fine_tune.stages if self.train.fine_tune else 0
            transfer.unfreeze(model, thawed)  # so that a wrong number of stages shows now
            transfer.freeze(model)
        return model
