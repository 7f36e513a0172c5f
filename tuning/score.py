"""What a trial is ranked by."""

import math

import keras

from pipeline.dataset import Splits
from trainer.evaluate import predict, score
from trainer.fit import FitResult


def score_of(objective: str, model: keras.Model, data: Splits, result: FitResult) -> float:
    """Give the objective at the epoch whose weights the trained model holds.

    It is a column of the history, or val_ and a metric of the evaluation, on the validation split.
    Raises ValueError when there is no such metric, or when it is no finite number.
    """
    value = _find(objective, model, data, result)
    if not math.isfinite(value):
        raise ValueError(f"{objective} became {value}")
    return value


def _find(objective: str, model: keras.Model, data: Splits, result: FitResult) -> float:
    kept: dict[str, float] = result.history[result.best_epoch - 1]
    if objective in kept:
        return float(kept[objective])
    evaluation = score(predict(model, data.validation), data.info.class_names)
    metrics = {f"val_{name}": value for name, value in evaluation.metrics().items()}
    if objective not in metrics:
        allowed = sorted({*kept, *metrics} - {"epoch"})
        raise ValueError(f"no metric {objective!r} to optimise. Allowed: {', '.join(allowed)}")
    return metrics[objective]
