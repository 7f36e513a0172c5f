"""When a loss has blown up, and how training goes back from there with a smaller rate.

Spikes and collapses are what a rate that is too high brings (Chowdhery et al. 2022, PaLM, section
5.1, went back to an earlier checkpoint too). Whether one is there follows from the steps done and
never from a clock, so that an interrupted run goes back where an undisturbed one does.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace

import keras
import tensorflow as tf

from trainer.callbacks import Diverged
from trainer.checkpoint import Progress
from trainer.history import History
from trainer.keeper import Keeper
from trainer.objective import main_logs
from trainer.optimizers import multiply_rate
from trainer.schedule_config import DivergenceConfig

FIRST_EPOCH = 10  # times a blind guess: batch norm's statistics may be far off until then
LOOK_EVERY = 50  # steps; a look costs 0.05% of mnist_cnn's time, and waits for a GPU's last step
log = logging.getLogger(__name__)


def check_loss(logs: Mapping[str, float], history: History, jump: float, classes: int) -> None:
    """Raise Diverged when the averages of the epoch after `history` are those of a blown-up loss.

    That is one that is no finite number; one that is `jump` times the last epoch's and no better
    than the first epoch's, so that what was learned is lost; and, when the first epoch has been
    validated, two losses of FIRST_EPOCH times the cross-entropy of a blind guess.
    """
    epoch = len(history) + 1
    if not is_finite(logs):
        losses = ", ".join(f"{name} {value}" for name, value in logs.items() if "loss" in name)
        raise Diverged(f"the loss is no longer finite in epoch {epoch} ({losses})")
    main = main_logs(dict(logs))
    if not history:
        guess, loss = math.log(classes), min(main["loss"], main.get("val_loss", 0.0))
        if loss >= FIRST_EPOCH * guess:
            raise Diverged(f"the loss is {loss:.3g} after epoch 1, a blind guess's {guess:.3g}")
    elif main["loss"] >= max(jump * history[-1]["loss"], history[0]["loss"]):
        before = history[-1]["loss"]
        raise Diverged(f"the loss jumped from {before:.3g} to {main['loss']:.3g} in epoch {epoch}")


def is_finite(logs: Mapping[str, float]) -> bool:
    """Tell whether all losses and metrics are finite numbers."""
    return all(map(math.isfinite, logs.values()))


def go_back(
    model: keras.Model, keeper: Keeper, config: DivergenceConfig, done: int, problem: Diverged
) -> Progress:
    """Put the last epoch's state back, with a smaller rate, after `done` earlier roll-backs.

    The state is written with both, so that a run that is killed now goes on from there. Raises
    Diverged when as many roll-backs as the job allows have not helped.
    """
    if done >= config.rollbacks:
        tried = f", after {done} roll-backs to smaller rates" if done else ""
        raise Diverged(f"{problem}{tried}: lower train.learning_rate") from None
    progress = replace(keeper.restore(model, between_epochs=True), rollbacks=done + 1)
    scale = multiply_rate(model.optimizer, config.factor)
    keeper.save(model, progress)
    log.warning(
        "%s: going back to the end of epoch %d with %g of the learning rate (roll-back %d of %d)",
        problem,
        len(progress.history),
        scale,
        progress.rollbacks,
        config.rollbacks,
    )
    if keeper.peers.is_chief:
        with tf.summary.create_file_writer(str(keeper.directory / "logs" / "train")).as_default():
            tf.summary.scalar("rollbacks", progress.rollbacks, step=len(progress.history))
            tf.summary.text("divergence", str(problem), step=len(progress.history))
    return progress
