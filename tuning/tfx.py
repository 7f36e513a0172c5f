"""Searching as a component of a TFX pipeline: `tuner_fn` for its Tuner, without importing tfx.

`custom_config` of the Tuner carries sections of a job file, as trainer.tfx describes; its tune
section says what to search and how. The best hyperparameters name fields of the job by path, which
`trainer.tfx.run_fn` reads from the Trainer's arguments.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras_tuner
from keras_tuner.engine import base_tuner

from trainer import tfx, zoo
from tuning.component import Component
from tuning.config import TuneConfig
from tuning.journal import Journal
from tuning.oracles import UNLIMITED
from tuning.space import DEFAULT_SPACE, corners, own_values
from tuning.study import Study
from tuning.trial import Assignment, Outcome

PROJECT = "convoy"
log = logging.getLogger(__name__)


class TunerFnResult(NamedTuple):
    """What TFX's Tuner executor takes from a tuner_fn."""

    tuner: base_tuner.BaseTuner
    fit_kwargs: dict[str, Any]


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Give a tuner over the fields of a job; its state lies in `fn_args.working_dir`.

    A Tuner that is started again goes on there, with no trial lost. `train_steps` limits the epochs
    of a trial. Raises ValueError (pydantic's ValidationError is one) when the settings are wrong.
    """
    component = Component(fn_args)
    config = _resolve(component)
    for values in corners(config.space):
        settings = tfx.read_settings(component.fn_args, values)
        zoo.check_options(settings.model.name, settings.model.options)
    directory = component.directory / PROJECT
    directory.mkdir(parents=True, exist_ok=True)
    own = own_values(component.tree(), config.space)
    study = Study(config, config.space, Journal(directory / "journal.jsonl"), own)
    return TunerFnResult(JobTuner(study, component.train, component.directory), {})


class JobTuner(base_tuner.BaseTuner):
    """A KerasTuner tuner whose trials are those of a study, one after another in this process."""

    def __init__(
        self, study: Study, train: Callable[[Assignment], Outcome], directory: Path
    ) -> None:
        super().__init__(study.oracle, directory=str(directory), project_name=PROJECT)
        self.study, self.train = study, train
        if self.oracle.max_trials is None:  # Hyperband's; TFX takes a slice of so many trials
            self.oracle.max_trials = UNLIMITED

    def search(self, *_: Any, **__: Any) -> None:
        """Run all trials that are left. Raises ValueError when none has completed."""
        while not self.study.is_over and (given := self.study.next()) is not None:
            trial = self.study.finish(given.trial, self.train(given))
            if trial is not None:
                log.info("trial %s: %s %s", trial.id, trial.state, trial.reason or trial.score)
        if self.study.best() is None:
            reasons = {str(trial.reason) for trial in self.study.trials.values()}
            raise ValueError(f"no trial completed: {'; '.join(sorted(reasons))}")

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[keras_tuner.HyperParameters]:
        """Give the values of the best completed trials, without Hyperband's own."""
        done = [trial for trial in self.study.ranked() if trial.state == "COMPLETED"]
        configs = [self.study.hyperparameters(trial.values) for trial in done[:num_trials]]
        return [keras_tuner.HyperParameters.from_config(config) for config in configs]


def _resolve(component: Component) -> TuneConfig:
    """Write the defaults out that depend on the job."""
    config = component.tune
    changes: dict[str, Any] = {"space": config.space or DEFAULT_SPACE}
    if config.algorithm == "hyperband" and config.hyperband.max_epochs is None:
        epochs = {"max_epochs": max(2, component.settings.train.epochs)}
        changes["hyperband"] = config.hyperband.model_copy(update=epochs)
    return config.model_copy(update=changes)
