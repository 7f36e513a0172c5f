"""A search over a job's own settings: every trial trains the job with other values."""

import json
from pathlib import Path
from typing import Any

import keras

from jobs.config import Job, parse
from jobs.preparation import check_model, load_data, train_network
from trainer.callbacks import Diverged, Hooks
from tuning.config import TuneConfig
from tuning.search import Values
from tuning.space import DEFAULT_SPACE, ends


def with_values(job: Job, values: Values) -> Job:
    """Give the job with fields set by path.

    Raises ConfigError when a path or a value is not allowed.
    """
    tree = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    for path, value in values.items():
        *parents, leaf = path.split(".")
        section: Any = tree
        for parent in parents:
            section = section.setdefault(parent, {})
        section[leaf] = value
    return parse(tree, "tune.space")


def train_once(job: Job, values: Values, directory: Path) -> float:
    """Train the job with other values and give the best epoch's validation accuracy.

    Raises ValueError when the values do not make a job that can be trained.
    """
    changed = with_values(job, values)
    data = load_data(changed)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "values.json").write_text(json.dumps(values), encoding="utf-8")
    try:
        _, result = train_network(changed, data, directory, Hooks())
    except Diverged as problem:
        raise ValueError(str(problem)) from None
    finally:
        keras.backend.clear_session()  # or the graphs of past trials stay in memory
    return result.history[result.best_epoch - 1]["val_accuracy"]


def check_space(job: Job, settings: TuneConfig) -> None:
    """Hold the ends of every dimension against the job's own checks, before the first trial.

    Raises ConfigError that names the path and the value.
    """
    for path, dimension in (settings.space or DEFAULT_SPACE).items():
        for value in ends(dimension):
            check_model(with_values(job, {path: value}))
