"""Transfer learning in two phases: the head on a frozen trunk, then the trunk's end with it."""

from collections.abc import Mapping
from pathlib import Path

import keras

from pipeline.dataset import Splits
from trainer import transfer
from trainer.callbacks import Hooks
from trainer.config import TrainConfig
from trainer.fit import FitResult, fit
from trainer.history import MONITOR, History, write_history
from trainer.keeper import Keeper
from trainer.peers import peers_of

SECOND = "fine_tune"  # the second phase's directory inside the run


def fit_phases(
    model: keras.Model,
    data: Splits,
    config: TrainConfig,
    directory: Path,
    hooks: Hooks,
    loss_weights: Mapping[str, float],
) -> FitResult:
    """Fit once, and with `config.fine_tune` a second time with the trunk's last stages thawed.

    Each phase keeps checkpoints of its own, so an interruption in either is resumed there. The
    weights left in the model are those of the best epoch of both. Errors are those of `fit`.
    """
    first = fit(model, data, config, directory, hooks, loss_weights)
    if config.fine_tune is None:
        return first
    transfer.unfreeze(model, config.fine_tune.stages)
    changes = {"epochs": config.fine_tune.epochs, "learning_rate": config.fine_tune.learning_rate}
    second_config = config.model_copy(update=changes)
    second = fit(model, data, second_config, directory / SECOND, hooks, loss_weights)
    history = first.history + _after(first.history, second.history)
    write_history(directory / "history.csv", history)
    best = len(first.history) + second.best_epoch
    if history[first.best_epoch - 1][MONITOR] <= history[best - 1][MONITOR]:
        best = first.best_epoch  # the second phase did not help
        peers = peers_of(model.distribute_strategy)
        Keeper(directory, peers=peers).restore_best(model, best)
    return FitResult(history, best, second.examples_per_second)


def _after(first: History, second: History) -> History:
    return [{**entry, "epoch": entry["epoch"] + len(first)} for entry in second]
