"""A trial as TFX's Tuner component trains it, from the component's arguments."""

import logging
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.whole import copy_whole
from trainer import distribute, remote, tfx
from trainer.callbacks import Diverged, Hooks
from trainer.recipe import Recipe
from tuning.config import TuneConfig
from tuning.score import score_of
from tuning.space import Values
from tuning.trial import Assignment, Outcome

log = logging.getLogger(__name__)


class Component:
    """Trains the job that a component's arguments describe, with other values."""

    def __init__(self, fn_args: Any) -> None:
        """Read the arguments. Raises ValueError when they are wrong."""
        self.fn_args = remote.bring(fn_args)
        self.settings = tfx.read_settings(self.fn_args, {})
        self.tune = TuneConfig.model_validate(tfx.read_sections(fn_args).get("tune", {}))
        self.directory = tfx.run_directory(self.fn_args)

    def tree(self) -> dict[str, Any]:
        """Give the job's sections as nested dicts, defaults included."""
        sections = ("data", "model", "train")
        return {
            name: getattr(self.settings, name).model_dump(mode="json", exclude_none=True)
            for name in sections
        }

    def train(self, assignment: Assignment) -> Outcome:
        """Train and score one trial, from its own state or its parent's."""
        try:
            return self._train(assignment)
        except (ValueError, Diverged, MemoryError, tf.errors.OpError) as problem:
            log.exception("trial %s", assignment.trial)
            return Outcome("raised", reason=str(problem).strip().splitlines()[0][:500])
        finally:
            keras.utils.clear_session()  # else each trial adds to this process' memory

    def _train(self, assignment: Assignment) -> Outcome:
        changes: Values = dict(assignment.values)
        if assignment.epochs is not None:
            changes["train.epochs"] = assignment.epochs
        settings = tfx.read_settings(self.fn_args, changes)
        data = tfx.load(settings)
        epochs = tfx.limited_epochs(settings.train, self.fn_args.train_steps, data.steps_per_epoch)
        at_once = settings.train.divergence.model_copy(update={"rollbacks": 0})  # it fails
        train = settings.train.model_copy(update={"epochs": epochs, "divergence": at_once})
        strategy, _ = distribute.choose()
        recipe = Recipe(settings.model, train, strategy)
        policy, _ = recipe.choose_precision(data.info)
        model = recipe.start(data.info, policy)
        result = recipe.fit(model, data, self._prepare(assignment), Hooks())
        return Outcome("scored", score_of(self.tune.objective, model, data, result), epochs)

    def _prepare(self, assignment: Assignment) -> Path:
        """Give the trial's directory; a promoted trial begins with what its parent has."""
        trials = self.directory / "trials"
        place = trials / assignment.trial
        if assignment.parent is not None and not place.exists():
            copy_whole(trials / assignment.parent, place)
        place.mkdir(parents=True, exist_ok=True)
        return place
