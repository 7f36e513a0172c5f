"""Fit a network to batches, keeping what an interrupted run needs to go on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from pipeline.dataset import Splits
from trainer import distribute
from trainer.accumulation import check_accumulation
from trainer.callbacks import Diverged, Hooks, Observer
from trainer.config import TrainConfig
from trainer.history import History, best_epoch
from trainer.input_report import InputReport
from trainer.keeper import Keeper
from trainer.loop import Loop, build_metrics
from trainer.objective import NO_WEIGHTS, compile_model, with_targets
from trainer.peers import peers_of


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

    Continues from `directory/checkpoints` when a state is there, at the step where it was written;
    the weights at the end are, bit for bit, those of a run that was never interrupted. Writes
    TensorBoard's files to `directory/logs`, `directory/history.csv`, and `directory/input.json`
    about the wait for batches. Raises Interrupted when a hook asks to stop, Diverged when the loss
    is no longer finite or no weight changed, ValueError when a batch cannot be shared out equally
    among devices, these cannot do what is asked, or the training is shorter than what it
    accumulates.

    Of several processes under one strategy, each calls it, the chief with the run's directory and
    the others with one of their own, of no further use; the best weights are the chief's.
    """
    distribute.check_jit(model.distribute_strategy, config.jit)
    distribute.check_steps(model.distribute_strategy, data.batch_size, config.accumulation_steps)
    check_accumulation(config, data.steps_per_epoch)
    hooks = hooks or Hooks()
    peers = peers_of(model.distribute_strategy, hooks.stop_requested)
    compile_model(model, config, loss_weights, data.steps_per_epoch)
    build_metrics(model, with_targets(model, data.validation))
    report = InputReport(directory)
    callbacks = keras.callbacks.CallbackList(
        [
            report,  # before hooks that may take their time
            Observer(replace(hooks, stop_requested=peers.stop_requested), data.steps_per_epoch),
            keras.callbacks.TensorBoard(str(directory / "logs"), write_graph=False),
        ],
        model=model,
    )
    keeper = Keeper(directory, config.checkpoint_steps, peers)
    progress = keeper.restore(model)
    history = Loop(model, data, config, keeper, callbacks).run(progress, report.watch)
    best = best_epoch(history)
    if history and not best:
        raise Diverged(
            f"no weight changed in {len(history)} epochs: in every step a gradient was too large "
            'for float16. Train longer, or set train.precision to "mixed_bfloat16" or "float32"'
        )
    keeper.restore_best(model, best)
    examples = data.steps_per_epoch * data.batch_size
    seconds = sorted(epoch["seconds"] for epoch in history)
    return FitResult(history, best, examples / seconds[len(seconds) // 2])
