"""Search a space: draw values, have them scored, remember the best."""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras_tuner

from tuning.config import TuneConfig
from tuning.space import DEFAULT_SPACE, declare

OBJECTIVE = "val_accuracy"
Values = dict[str, Any]  # job field by path -> value
Train = Callable[
    [Values, Path], float
]  # values and a directory to work in -> validation accuracy, 0..1


@dataclass(frozen=True)
class Trial:
    """One set of values and how it did."""

    id: str
    state: str  # KerasTuner's: COMPLETED, FAILED, INVALID, ...
    values: Values
    score: float | None  # validation accuracy, 0..1
    seconds: float
    reason: str | None  # why it failed

    def to_json(self) -> dict[str, Any]:
        """Give the trial as plain JSON values."""
        return asdict(self)


class NoTrialCompleted(Exception):
    """The search ended without one scored trial."""


def search(
    config: TuneConfig, train: Train, directory: Path, on_trial: Callable[[Trial], None]
) -> list[Trial]:
    """Run the trials one after another in this process, best first in the result.

    `train` is called with drawn values; what it raises as ValueError fails that trial alone.
    Raises NoTrialCompleted when every trial failed.
    """
    tuner = _Tuner(
        train,
        on_trial,
        oracle=keras_tuner.oracles.RandomSearchOracle(
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=config.max_trials,
            hyperparameters=declare(config.space or DEFAULT_SPACE),
            allow_new_entries=False,
            tune_new_entries=True,
            seed=config.seed,
            max_consecutive_failed_trials=config.max_trials + 1,  # failures never end a search
        ),
        directory=str(directory),
        project_name="search",
    )
    with contextlib.redirect_stdout(sys.stderr):  # KerasTuner prints; stdout belongs to the caller
        tuner.search(verbose=0)
    completed = [trial for trial in tuner.trials if trial.score is not None]
    if not completed:
        reasons = {trial.reason for trial in tuner.trials}
        raise NoTrialCompleted(
            f"none of {len(tuner.trials)} trials completed: {'; '.join(map(str, reasons))}"
        )
    return sorted(
        tuner.trials, key=lambda trial: -1.0 if trial.score is None else trial.score, reverse=True
    )


class _Tuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Hands each trial's values to `train` in place of KerasTuner's own model building."""

    def __init__(self, train: Train, on_trial: Callable[[Trial], None], **kwargs: Any) -> None:
        self.train, self.on_trial = train, on_trial
        self.trials: list[Trial] = []
        super().__init__(hypermodel=None, **kwargs)

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        started = time.perf_counter()
        values = dict(trial.hyperparameters.values)
        try:
            score = self.train(values, Path(self.get_trial_dir(trial.trial_id)))
        except ValueError as problem:
            self._record(trial, values, started, None, str(problem))
            raise
        self._record(trial, values, started, score, None)
        return {OBJECTIVE: score}

    def _try_run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        """Fail a trial quietly, where KerasTuner prints the traceback of what was foreseen."""
        try:
            self._run_and_update_trial(trial, *args, **kwargs)
            trial.status = keras_tuner.engine.trial.TrialStatus.COMPLETED
        except ValueError as problem:
            trial.status = keras_tuner.engine.trial.TrialStatus.FAILED
            trial.message = str(problem)

    def _record(
        self, trial: Any, values: Values, started: float, score: float | None, reason: str | None
    ) -> None:
        state = "FAILED" if score is None else "COMPLETED"
        seconds = round(time.perf_counter() - started, 3)
        self.trials.append(Trial(trial.trial_id, state, values, score, seconds, reason))
        self.on_trial(self.trials[-1])
