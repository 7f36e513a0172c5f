"""How well a classifier does on examples it was not trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from trainer import bootstrap
from trainer.bootstrap import Interval
from trainer.calibration import Calibration, Gaps, calibrate
from trainer.evaluate_config import EvaluateConfig
from trainer.slices import SliceScore, score_slices

ERROR = "calibration_error"
SMALLEST = float(np.finfo(np.float64).eps)  # probability: as scikit-learn clips it


@dataclass(frozen=True)
class ClassScore:
    """One class against all others; values in 0..1, 0 where undefined."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int  # examples of this class
    answers: int  # examples that were taken for this class


@dataclass(frozen=True)
class Evaluation:
    """Scores over one split."""

    accuracy: float  # 0..1
    loss: float  # mean cross-entropy, in nats
    top_k: int
    top_k_accuracy: float | None  # the label is among the k most probable; None: k is all classes
    macro_f1: float  # mean over classes that occur as label or guess, as scikit-learn's
    weighted_f1: float  # the same, weighted by support
    per_class: list[ClassScore]
    confusion: list[list[int]]  # [true class][predicted class]
    calibration: Calibration
    confidence: float  # level of all intervals
    intervals: dict[str, Interval]  # by the name of the score
    slices: list[SliceScore]

    def metrics(self) -> dict[str, float]:
        """Give the scalar scores."""
        top = {f"top_{self.top_k}_accuracy": self.top_k_accuracy}
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            **{name: value for name, value in top.items() if value is not None},
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            ERROR: self.calibration.error,
        }

    def to_json(self) -> dict[str, Any]:
        """Give all as plain JSON values; of the confusion, [true, predicted, count] where any is.

        A thousand classes are a million cells, and nearly all of them 0.
        """
        counts = np.array(self.confusion)
        cells = [[int(i), int(j), int(counts[i, j])] for i, j in np.argwhere(counts)]
        return asdict(self) | {"confusion": cells}


@dataclass(frozen=True)
class Predictions:
    """A model's answers to one split, in the split's order."""

    probabilities: np.ndarray  # float32 [N, K]
    labels: np.ndarray  # int64 [N], the truth
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)  # column -> str [N]


def predict(
    model: keras.Model,
    batches: tf.data.Dataset,
    metadata: Mapping[str, np.ndarray] | None = None,
) -> Predictions:
    """Ask a model whose output is probabilities about every example."""
    pairs = [(model.predict_on_batch(inputs), labels.numpy()) for inputs, labels in batches]
    probabilities, labels = zip(*pairs, strict=True)
    return Predictions(np.concatenate(probabilities), np.concatenate(labels), metadata or {})


def score(
    predictions: Predictions,
    class_names: tuple[str, ...],
    top_k: int = 5,
    config: EvaluateConfig | None = None,
) -> Evaluation:
    """Score predictions; labels may lack some classes. Every guess is among `top_k` of all classes.

    Raises ValueError when a column of `config.slices` is not among the metadata.
    """
    config = config or EvaluateConfig()
    labels, classes = predictions.labels, np.arange(len(class_names))
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)  # float32 rows: 1 only within 1e-6
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    hits, losses = guesses == labels, _losses(probabilities, labels)
    macro, weighted = _f1(labels, guesses, len(classes))
    gaps = Gaps.of(confidence, hits, config.calibration_bins)
    return Evaluation(
        accuracy=float(accuracy_score(labels, guesses)),
        loss=float(log_loss(labels, probabilities, labels=classes)),
        top_k=top_k,
        top_k_accuracy=_top_k_accuracy(probabilities, labels, top_k),
        macro_f1=macro,
        weighted_f1=weighted,
        per_class=_per_class(labels, guesses, class_names),
        confusion=confusion_matrix(labels, guesses, labels=classes).tolist(),
        calibration=calibrate(confidence, hits, config.calibration_bins),
        confidence=config.confidence,
        intervals=_intervals(labels, guesses, losses, gaps, config),
        slices=score_slices(predictions.metadata, hits, losses, config),
    )


def _intervals(
    labels: np.ndarray, guesses: np.ndarray, losses: np.ndarray, gaps: Gaps, config: EvaluateConfig
) -> dict[str, Interval]:
    num_classes = int(max(labels.max(), guesses.max())) + 1

    def statistics(rows: np.ndarray) -> dict[str, float]:
        macro, weighted = _f1(labels[rows], guesses[rows], num_classes)
        return {
            "loss": float(losses[rows].mean()),
            "macro_f1": macro,
            "weighted_f1": weighted,
            ERROR: gaps.error(rows),
        }

    found = bootstrap.intervals(statistics, len(labels), config)
    found[ERROR] = gaps.interval(found[ERROR], config)
    return {"accuracy": bootstrap.proportion(guesses == labels, config), **found}


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give each example's cross-entropy, in nats."""
    of_truth = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)[:, 0]
    return -np.log(np.clip(of_truth, SMALLEST, 1 - SMALLEST))


def _f1(labels: np.ndarray, guesses: np.ndarray, num_classes: int) -> tuple[float, float]:
    """Give F1 averaged over classes, plainly and by support; a class that never occurs is left out.

    F1 = 2 hits / (labels + guesses): counts alone, so that thousands of samples are cheap.
    """
    support = np.bincount(labels, minlength=num_classes)
    occurrences = support + np.bincount(guesses, minlength=num_classes)
    hits = np.bincount(labels[labels == guesses], minlength=num_classes)
    f1 = 2 * hits / np.maximum(occurrences, 1)
    return float(f1[occurrences > 0].mean()), float(f1 @ support / len(labels))


def _top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, top_k: int) -> float | None:
    """Give the share of labels among the k most probable; of equal ones the first, as argmax does.

    None where k is all classes, which says nothing.
    """
    count = probabilities.shape[1]
    if top_k >= count:
        return None
    own = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)
    earlier = np.arange(count) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & earlier)
    return float((ahead.sum(axis=1) < top_k).mean())


def _per_class(labels: np.ndarray, guesses: np.ndarray, names: tuple[str, ...]) -> list[ClassScore]:
    columns = precision_recall_fscore_support(
        labels, guesses, labels=np.arange(len(names)), zero_division=0
    )
    rows = zip(names, *columns, np.bincount(guesses, minlength=len(names)), strict=True)
    return [
        ClassScore(name, float(p), float(r), float(f), int(s), int(a))
        for name, p, r, f, s, a in rows
    ]
