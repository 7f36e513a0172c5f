"""Fit a network to batches, keeping what an interrupted run needs to go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from pipeline.dataset import Splits
from trainer import checkpoint
from trainer.callbacks import Hooks, Keeper, Observer
from trainer.config import TrainConfig
from trainer.history import History, best_epoch, has_converged, write_history
from trainer.input_report import InputReport
from trainer.objective import NO_WEIGHTS, compile_model, with_targets


@dataclass(frozen=True)
class FitResult:
    """What a fit learned of itself; the weights are in the model, those of the best epoch."""

    history: History
    best_epoch: int
    examples_per_second: float  # median over epochs, validation included


def fit(
    model: keras.Model,
    data: Splits,
    config: TrainConfig,
    directory: Path,
    hooks: Hooks | None = None,
    loss_weights: Mapping[str, float] = NO_WEIGHTS,
) -> FitResult:
    """Train until the epochs are done or validation stops improving; keep the best weights.

    Continues from `directory/checkpoints` when a state is there. Writes TensorBoard's files to
    `directory/logs`, `directory/history.csv`, and `directory/input.json` about the wait for
    batches. Raises Interrupted when a hook asks to stop, Diverged when the loss is no longer
    finite.
    """
    hooks = hooks or Hooks()
    compile_model(model, config, loss_weights)
    states = directory / "checkpoints"
    history = checkpoint.restore(states, model)
    first = len(history)
    if first < config.epochs and not has_converged(history, config.early_stopping_patience):
        report = InputReport(directory)
        model.fit(
            report.watch(with_targets(model, data.train_epochs(first))),
            initial_epoch=first,
            epochs=config.epochs,
            steps_per_epoch=data.steps_per_epoch,
            validation_data=with_targets(model, data.validation),
            shuffle=False,  # the epochs come shuffled
            verbose=0,  # Keras' bar goes to stdout; hooks let the caller draw its own
            callbacks=[
                Keeper(states, history, config.early_stopping_patience),
                report,  # before hooks that may take their time
                Observer(hooks, data.steps_per_epoch),
                keras.callbacks.TensorBoard(str(directory / "logs"), write_graph=False),
            ],
        )
    checkpoint.restore_best(states, model)
    write_history(directory / "history.csv", history)
    examples = data.steps_per_epoch * data.batch_size
    seconds = sorted(epoch["seconds"] for epoch in history)
    return FitResult(history, best_epoch(history), examples / seconds[len(seconds) // 2])
