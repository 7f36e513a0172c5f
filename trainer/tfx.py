"""Training as a component of a TFX pipeline: `run_fn` for its Trainer, without importing tfx.

`custom_config` of the Trainer carries the sections of a job file:
`{"convoy": {"data": {...}, "model": {...}, "train": {...}}}`. The examples are tf.Example records
with an encoded `image` (vectors: `features`) and a `label`; TFX's Evaluator tests, not the Trainer.
"""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pipeline
from pipeline.config import DataConfig
from pipeline.dataset import Splits
from trainer import distribute, network, remote, zoo
from trainer.callbacks import Hooks
from trainer.config import ModelConfig, TrainConfig
from trainer.export import export
from trainer.fields import apply
from trainer.recipe import Recipe

SECTIONS = ("data", "model", "train", "tune")
OURS = "convoy"  # the key of custom_config
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What a Trainer's arguments say, checked."""

    data: DataConfig
    model: ModelConfig
    train: TrainConfig


def run_fn(fn_args: Any) -> None:
    """Train on a Trainer's examples and leave the SavedModel in `fn_args.serving_model_dir`.

    Checkpoints, logs and prepared data go to `model_run_dir`, so that a Trainer that is started
    again goes on, unless that is remote. `train_steps` limits the epochs, at least one; every epoch
    validates on all of `eval_files`. Raises ValueError (pydantic's ValidationError is one) when the
    settings are wrong.
    """
    local = remote.bring(fn_args)
    _train(local, run=fn_args.model_run_dir or str(run_directory(fn_args)))
    remote.send(local, fn_args)


def _train(fn_args: Any, run: str) -> None:
    settings = read_settings(fn_args)
    data = load(settings)
    epochs = limited_epochs(settings.train, fn_args.train_steps, data.steps_per_epoch)
    strategy, devices = distribute.choose()
    train = settings.train.model_copy(update={"epochs": epochs})
    recipe = Recipe(settings.model, train, strategy)
    policy, reason = recipe.choose_precision(data.info)
    log.info("devices: %s; precision: %s (%s)", devices, policy, reason)
    trained = recipe.start(data.info, policy)
    result = recipe.fit(trained, data, run_directory(fn_args), Hooks())
    final = network.in_float32(trained, settings.model, data.info)
    counts = {split: data.info.counts[split] for split in ("train", "validation")}
    card = {
        "run": run,
        "data": {"digest": data.info.digest, "counts": counts},
        "model": settings.model.model_dump(mode="json"),
        "train": train.model_dump(mode="json"),
        "validation": result.history[result.best_epoch - 1],
    }
    trained_on = data.source.slices["train"].contents()
    export(final, data.info, data.prepare, Path(fn_args.serving_model_dir), card, trained_on)


def read_settings(fn_args: Any, values: Mapping[str, Any] | None = None) -> Settings:
    """Read a component's arguments with values of fields by path; None takes its tuner's best."""
    _refuse_what_would_be_ignored(fn_args)
    tree = read_sections(fn_args)
    if values is None:
        values = (fn_args.hyperparameters or {}).get("values", {})
    tree = with_values(tree, {k: v for k, v in values.items() if not k.startswith("tuner/")})
    data = {
        "source": _source(fn_args),
        "data_dir": str(run_directory(fn_args) / "data"),
        **tree.get("data", {}),
    }
    return Settings(
        DataConfig.model_validate(data),
        ModelConfig.model_validate(tree.get("model", {})),
        TrainConfig.model_validate(tree.get("train", {})),
    )


def read_sections(fn_args: Any) -> dict[str, Any]:
    """Give a copy of the job's sections in `custom_config`."""
    sections = (fn_args.custom_config or {}).get(OURS)
    if not isinstance(sections, Mapping) or not set(sections) <= set(SECTIONS):
        raise ValueError(
            f'custom_config["{OURS}"] must hold sections of a job file: a dict with the keys '
            f"{', '.join(SECTIONS)}; received {sections!r}"
        )
    return copy.deepcopy(dict(sections))


def with_values(tree: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Set fields by path, such as train.learning_rate, as trainer.fields.apply does."""
    for path in values:
        top, dot, _ = path.partition(".")
        if not dot or top not in SECTIONS:
            raise ValueError(
                f"hyperparameter {path!r} is no field of a job. Name it by its path, such as "
                "train.learning_rate or model.options.activation"
            )
    return apply(tree, values)


def load(settings: Settings) -> Splits:
    """Load the examples as the model takes them. Raises ValueError when they do not fit it."""
    zoo.check_options(settings.model.name, settings.model.options)
    scaling = zoo.MODELS[settings.model.name].scaling
    data = pipeline.load(settings.data, settings.train.batch_size, scaling)
    network.check_fits(settings.model, data.info)
    return data


def limited_epochs(train: TrainConfig, steps: int | None, steps_per_epoch: int) -> int:
    """Give the epochs that fit into so many steps, at least one and at most the job's."""
    return train.epochs if not steps else max(1, min(train.epochs, steps // steps_per_epoch))


def run_directory(fn_args: Any) -> Path:
    """Give where a component may keep what it works with."""
    place = fn_args.model_run_dir or fn_args.working_dir
    return Path(place) if place else Path(fn_args.serving_model_dir).parent / "convoy"


def _source(fn_args: Any) -> str:
    if not fn_args.train_files or not fn_args.eval_files:
        raise ValueError(
            f"train_files and eval_files must each name files of tf.Example records; received "
            f"{fn_args.train_files!r} and {fn_args.eval_files!r}"
        )
    parts = [f"train={pattern}" for pattern in fn_args.train_files]
    parts += [f"eval={pattern}" for pattern in fn_args.eval_files]
    parts += [f"test={pattern}" for pattern in fn_args.eval_files]  # or train would lose examples
    return f"tfrecord:{','.join(parts)}"


def _refuse_what_would_be_ignored(fn_args: Any) -> None:
    if fn_args.transform_graph_path:
        raise ValueError(
            "transform_graph_path is set, and the exported model would not apply that Transform: "
            "prepare images by the data section, and leave Transform out"
        )
    if fn_args.base_model:
        raise ValueError(
            f"base_model is {fn_args.base_model}, a SavedModel, which training cannot start from: "
            "set model.weights to a .keras file instead"
        )
