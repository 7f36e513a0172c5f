"""KerasTuner's search algorithms, kept in memory alone: the journal is what lasts."""

from typing import Any

import keras_tuner

from tuning.config import TuneConfig
from tuning.space import Space, Values, declare

UNLIMITED = 1_000_000_000  # failures: the study counts them, and ends the search in good order


class _InMemory:
    """Starts with given values, and writes no file.

    KerasTuner's own state files are not written atomically, and what it reloads from them runs
    finished trials again and breaks the grid.
    """

    starts: list[Values]
    _seed_state: int  # KerasTuner's: it counts the draws

    def save(self) -> None:
        """Keep nothing."""

    def _save_trial(self, trial: Any) -> None:
        """Keep nothing."""

    def _random_values(self) -> Any:
        while self.starts:
            values = self.starts.pop(0)
            if not self._duplicate(values):  # type: ignore[attr-defined]  # KerasTuner's
                return dict(values)
        before = self._seed_state
        values = super()._random_values()  # type: ignore[misc]  # KerasTuner's
        if values is None:  # draws in vain are in no journal, so they must leave no trace
            self._seed_state = before
        return values


class _Random(_InMemory, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Bayesian(_InMemory, keras_tuner.oracles.BayesianOptimizationOracle):
    pass


class _Hyperband(_InMemory, keras_tuner.oracles.HyperbandOracle):
    pass


class _Grid(_InMemory, keras_tuner.oracles.GridSearchOracle):
    pass


def make_oracle(config: TuneConfig, space: Space, own: Values, starts: list[Values]) -> Any:
    """Make the algorithm that the settings name.

    `own` are the job's present values, `starts` values to try first; a grid starts with its own
    defaults instead. `config.hyperband.max_epochs` must be set for Hyperband.
    """
    settings: dict[str, Any] = {
        "objective": keras_tuner.Objective(
            config.objective, "min" if config.lowest_is_best else "max"
        ),
        "hyperparameters": declare(space, own),
        "allow_new_entries": False,
        "seed": config.seed + 1,  # KerasTuner takes 0 for "draw one"
        "max_consecutive_failed_trials": UNLIMITED,
    }
    limit = config.trial_limit
    if config.algorithm == "random":
        oracle: Any = _Random(max_trials=limit, **settings)
    elif config.algorithm == "bayesian":
        oracle = _Bayesian(max_trials=limit, **config.bayesian.model_dump(), **settings)
    elif config.algorithm == "hyperband":
        band = config.hyperband
        oracle = _Hyperband(
            max_epochs=band.max_epochs,
            factor=band.factor,
            hyperband_iterations=band.iterations,
            **settings,
        )
    else:
        oracle = _Grid(max_trials=limit, **settings)
    oracle.starts = list(starts)
    oracle.verbose = 0  # or it prints on stdout
    return oracle
