"""A job's data and network, checked against each other, and training one on the other."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

import pipeline
from jobs import origin
from jobs.config import Job
from jobs.exits import ConfigError
from jobs.rundir import RunDir
from pipeline import idle, trained
from pipeline.dataset import Splits, check_settings
from pipeline.whole import write_whole
from trainer import network, optimizers, zoo
from trainer.callbacks import Hooks
from trainer.distribute import Strategy
from trainer.evaluate import Evaluation, Predictions, predict, score
from trainer.fit import FitResult
from trainer.recipe import Recipe
from trainer.slices import check_columns

PRECISION = "precision.json"  # in a run: the policy that it trains under, why, and the threads
WARNINGS = "warnings.json"  # in a run: what its report must say of the weights that it began with
log = logging.getLogger(__name__)


def train_network(
    job: Job, data: Splits, directory: Path, hooks: Hooks, strategy: Strategy | None = None
) -> tuple[keras.Model, FitResult]:
    """Build and fit the job's network, continuing where `directory` has a state of it.

    Without a strategy it trains on one device. The network stays in the precision of training.
    Raises ConfigError when it cannot be built; further errors are those of `fit`.
    """
    recipe = Recipe(job.model, job.train, strategy)
    directory.mkdir(parents=True, exist_ok=True)
    began = _begin(recipe, data, directory)
    log.info("precision: %s (%s)", began["policy"], began["reason"])
    try:
        recipe.check_steps(data)
    except ValueError as problem:
        raise ConfigError(str(problem)) from None
    model, warnings = start_network(recipe, data, began["policy"])
    if warnings:
        write_whole(directory / WARNINGS, json.dumps(warnings, ensure_ascii=False).encode())
    _compare_threads(began)
    return model, recipe.fit(model, data, directory, hooks)


def _begin(recipe: Recipe, data: Splits, directory: Path) -> dict[str, Any]:
    """Decide what the bits of a run depend on; an interrupted one keeps to what it began with."""
    path = directory / PRECISION
    if not path.is_file():
        policy, reason = recipe.choose_precision(data.info)
        chosen = {"policy": policy, "reason": reason, "threads": origin.threads()}
        write_whole(path, (json.dumps(chosen) + "\n").encode())
    began: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return began


def _compare_threads(began: Mapping[str, Any]) -> None:
    """Say so where an interrupted run goes on with other threads: sums are then cut otherwise."""
    before, now = began.get("threads"), origin.threads()
    if before not in (None, now):
        log.warning(
            "this run began with %d threads of TensorFlow and goes on with %d: it will not end "
            "bit for bit like an undisturbed one. TF_NUM_INTRAOP_THREADS=%d keeps to them",
            before,
            now,
            before,
        )


def start_network(recipe: Recipe, data: Splits, policy: str) -> tuple[keras.Model, list[str]]:
    """Build the network that training starts from; give it with what it warns of.

    Raises ConfigError when it cannot be built.
    """
    warnings: list[str] = []
    try:
        model = recipe.start(data.info, policy, warnings.append)
    except ValueError as problem:
        raise ConfigError(f"model: {problem}") from None
    for warning in warnings:
        log.warning(warning)
    return model, warnings


def load_data(job: Job) -> Splits:
    """Load the job's data as its model takes it. Raises ConfigError when it cannot."""
    check_model(job)
    try:
        data = pipeline.load(job.data, job.train.batch_size, zoo.MODELS[job.model.name].scaling)
        network.check_fits(job.model, data.info)
        check_settings(job.data, data.info)
        if job.train.top_k >= data.info.num_classes:
            idle.refuse(job.train, ("top_k",), f"train: {data.info.source} has no more classes")
        check_columns(job.evaluate.slices, data.source.slices["test"].columns())
    except ValueError as problem:
        raise ConfigError(str(problem)) from None
    return data


def load_data_of(run: RunDir, job: Job) -> Splits:
    """Load the data of a run's job anew, with the classes that its network knows, by their names.

    Says what else is in them, and whether the test has examples that the run was trained on. Raises
    ConfigError when a class is gone, and as `load_data`.
    """
    names, data = run.class_names, load_data(job)
    if gone := [name for name in names if name not in data.info.class_names]:
        raise ConfigError(
            f"{data.info.source} has no class {', '.join(gone)} any more, which {run.path} was "
            "trained on: its network cannot be evaluated on the rest. Train anew"
        )
    if data.info.class_names != names:
        if new := [name for name in data.info.class_names if name not in names]:
            log.warning(
                "%s was not trained on the class %s, whose examples are left out",
                run.path, ", ".join(new),
            )  # fmt: skip
        chosen = job.data.model_copy(update={"class_names": names})
        data = load_data(job.model_copy(update={"data": chosen}))
    _say_what_is_known(run, data)
    return data


def _say_what_is_known(run: RunDir, data: Splits) -> None:
    record = run / trained.FILE_NAME
    if not record.is_file():
        log.warning("%s does not say what it was trained on: it may know the test", run.path)
        return
    known = trained.known(data.source.slices["test"].contents(), record.read_bytes())
    if known.any():
        log.warning(
            "%d of %d test examples are among those that %s was trained on: scores are too good",
            known.sum(), len(known), run.path,
        )  # fmt: skip


def evaluate(job: Job, data: Splits, model: keras.Model) -> tuple[Predictions, Evaluation]:
    """Ask a network about the test split, and score its answers as the job says."""
    metadata = data.source.slices["test"].metadata(job.evaluate.slices)
    predictions = predict(model, data.test, metadata)
    return predictions, score(predictions, data.info.class_names, job.train.top_k, job.evaluate)


def check_model(job: Job) -> None:
    """Check the model's and the optimizer's options. Raises ConfigError that says what may be."""
    try:
        zoo.check_options(job.model.name, job.model.options)
    except ValueError as problem:
        raise ConfigError(f"model: {problem}") from None
    try:
        optimizers.check_options(job.train)
    except ValueError as problem:
        raise ConfigError(f"train.{problem}") from None


def load_model(run: RunDir) -> keras.Model:
    """Load the trained float32 network of a run.

    Raises ConfigError when the run has not trained one yet.
    """
    path = run / "model.keras"
    if not path.is_file():
        raise ConfigError(
            f"no trained model {path}: continue the run with convoy train --resume {run.path}"
        )
    return keras.models.load_model(path, compile=False)
