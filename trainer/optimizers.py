"""Keras optimizers by the names that job files use, with their arguments checked."""

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from trainer.adam import Adam, AdamW, ScheduleFreeAdamW
from trainer.config import OptimizerName, TrainConfig
from trainer.schedules import RATE_SCALE, Scheduled

_SGD = keras.optimizers.SGD
OPTIMIZERS: dict[OptimizerName, Callable[..., Any]] = {
    "sgd": _SGD,
    "momentum": partial(_SGD, momentum=0.9),
    "nesterov": partial(_SGD, momentum=0.9, nesterov=True),
    "adadelta": keras.optimizers.Adadelta,
    "adafactor": partial(keras.optimizers.Adafactor, relative_step=False),  # heeds our rate
    "adagrad": keras.optimizers.Adagrad,
    "adam": Adam,
    "adamax": keras.optimizers.Adamax,
    "adamw": AdamW,
    "ftrl": keras.optimizers.Ftrl,
    "lamb": keras.optimizers.Lamb,
    "lion": keras.optimizers.Lion,
    "muon": keras.optimizers.Muon,
    "nadam": keras.optimizers.Nadam,
    "rmsprop": keras.optimizers.RMSprop,
    "schedule_free_adamw": ScheduleFreeAdamW,
}
FIELDS: dict[str, str] = {  # arguments that a field of [train] sets
    "learning_rate": "train.learning_rate",
    "weight_decay": "train.weight_decay",
    "clipnorm": "train.clipnorm",
    "global_clipnorm": "train.global_clipnorm",
    "clipvalue": "train.clipvalue",
    "use_ema": "train.ema_momentum",
    "ema_momentum": "train.ema_momentum",
    "ema_overwrite_frequency": "train.ema_momentum",
    "gradient_accumulation_steps": "train.accumulation_steps",
    "loss_scale_factor": "train.precision",
}
BELOW_ONE = {"beta_1", "beta_2", "adam_beta_1", "adam_beta_2", "rho", "momentum"}  # decays
NOT_DECAYED = ["bias", "gamma", "beta"]  # He et al. 2018, Bag of tricks: decay kernels alone


def make_optimizer(config: TrainConfig, steps_per_epoch: int) -> Any:
    """Give a fresh Keras optimizer that follows the job's schedule.

    Its `variables` include the rate's scale. It counts updates: `accumulate` makes one of several
    of the `steps_per_epoch`. Raises ValueError when an option does not suit the optimizer.
    """
    check_options(config)
    settings = {name: getattr(config, name) for name in ("clipnorm", "global_clipnorm")}
    settings |= {"clipvalue": config.clipvalue, **config.optimizer_options}
    if config.weight_decay is not None:  # None would take AdamW's own default away
        settings["weight_decay"] = config.weight_decay
    if config.ema_momentum is not None:
        settings |= {"use_ema": True, "ema_momentum": config.ema_momentum}
    highest = highest_rate(config)
    optimizer = OPTIMIZERS[config.optimizer](learning_rate=highest, **settings)
    _decay_kernels_alone(optimizer)
    scale = optimizer.add_variable(
        (), "ones", "float32", aggregation="only_first_replica", name=RATE_SCALE
    )
    updates = math.ceil(steps_per_epoch / config.accumulation_steps)
    optimizer.learning_rate = Scheduled(config.schedule, highest, updates, config.epochs, scale)
    return optimizer


def highest_rate(config: TrainConfig) -> float:
    """Give the job's learning rate, or the optimizer's own default where the job has none."""
    if config.learning_rate is not None:
        return config.learning_rate
    parameters = inspect.signature(OPTIMIZERS[config.optimizer]).parameters
    return float(parameters["learning_rate"].default)


def check_options(config: TrainConfig) -> None:
    """Hold `optimizer_options` against the optimizer's own arguments. Raises ValueError."""
    known = option_defaults(config.optimizer)
    for name, value in config.optimizer_options.items():
        key = f"optimizer_options.{name}"
        if name in FIELDS:
            raise ValueError(f"{key}: set {FIELDS[name]} instead")
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise ValueError(f"{key}: {config.optimizer} has no such argument. Allowed: {allowed}")
        _check_value(key, value, known[name])
    if config.optimizer_options.get("nesterov") and not _has_momentum(config):
        raise ValueError("optimizer_options.nesterov does nothing without momentum")


def option_defaults(name: OptimizerName) -> dict[str, Any]:
    """Give the arguments that are the optimizer's own, and their defaults."""
    make = OPTIMIZERS[name]
    parameters = inspect.signature(make).parameters.values()
    reserved = {*FIELDS, "name", "self"}
    return {
        p.name: p.default
        for p in parameters
        if p.kind is not p.VAR_KEYWORD and p.name not in reserved
    }


def _has_momentum(config: TrainConfig) -> bool:
    own = option_defaults(config.optimizer).get("momentum", True)
    return bool(own) or "momentum" in config.optimizer_options


def rate_scale(optimizer: Any) -> Any:
    """Give the variable that every learning rate is multiplied by; 1 at first."""
    inner = unscaled(optimizer)
    return next(v for v in inner.variables if v.name == RATE_SCALE)


def multiply_rate(optimizer: Any, factor: float) -> float:
    """Multiply the learning rate for good, checkpoints included, and give the new scale."""
    scale = rate_scale(optimizer)
    scale.assign(float(scale.numpy()) * factor)
    return float(scale.numpy())


def current_rate(optimizer: Any) -> float:
    """Give the learning rate of the next step."""
    return float(unscaled(optimizer).learning_rate)


def last_rate(optimizer: Any) -> float:
    """Give the learning rate of the update that was done last; 0 before the first."""
    inner = unscaled(optimizer)
    done = updates(optimizer)
    return float(inner._learning_rate(done - 1)) if done else 0.0


def updates(optimizer: Any) -> int:
    """Give how often the weights have changed: under a loss scale not in every step."""
    return int(unscaled(optimizer).iterations.numpy())


def unscaled(optimizer: Any) -> Any:
    """Give the optimizer that updates weights: the one inside, where float16's loss is scaled."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _decay_kernels_alone(optimizer: Any) -> None:
    """Spare biases, normalisation and every other vector, such as ConvNeXt's layer scale."""
    optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    by_name = optimizer._use_weight_decay
    optimizer._use_weight_decay = lambda variable: len(variable.shape) > 1 and by_name(variable)


def _check_value(key: str, value: Any, default: Any) -> None:
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{key}: expected true or false, received {value!r}")
    elif isinstance(default, int | float):
        _check_number(key, value)
    elif not isinstance(value, type(default)) and default is not None:
        kind = type(default).__name__
        raise ValueError(f"{key}: expected {kind}, such as {default!r}, received {value!r}")


def _check_number(key: str, value: Any) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise ValueError(f"{key}: expected a finite number, received {value!r}")
    if key.rpartition(".")[2] in BELOW_ONE and not 0 <= value < 1:
        raise ValueError(f"{key}: expected at least 0 and below 1, received {value!r}")
