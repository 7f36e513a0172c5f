"""How well a classifier does on examples it was not trained on."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)


@dataclass(frozen=True)
class ClassScore:
    """One class against all others; values in 0..1, 0 where undefined."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int  # examples of this class


@dataclass(frozen=True)
class Evaluation:
    """Scores over one split."""

    accuracy: float  # 0..1
    loss: float  # mean cross-entropy, in nats
    top_k: int
    top_k_accuracy: float  # the label is among the k most probable
    per_class: list[ClassScore]
    confusion: list[list[int]]  # [true class][predicted class]

    def metrics(self) -> dict[str, float]:
        """Give the scalar scores."""
        return {
            "accuracy": self.accuracy,
            "loss": self.loss,
            f"top_{self.top_k}_accuracy": self.top_k_accuracy,
        }


@dataclass(frozen=True)
class Predictions:
    """A model's answers to one split, in the split's order."""

    probabilities: np.ndarray  # float32 [N, K]
    labels: np.ndarray  # int64 [N], the truth


def predict(model: keras.Model, batches: tf.data.Dataset) -> Predictions:
    """Ask a model whose output is probabilities about every example."""
    pairs = [(model.predict_on_batch(inputs), labels.numpy()) for inputs, labels in batches]
    probabilities, labels = zip(*pairs, strict=True)
    return Predictions(np.concatenate(probabilities), np.concatenate(labels))


def score(predictions: Predictions, class_names: tuple[str, ...], top_k: int = 5) -> Evaluation:
    """Score predictions; labels may lack some classes, and `top_k` is capped at their number."""
    labels, classes = predictions.labels, np.arange(len(class_names))
    guesses = predictions.probabilities.argmax(axis=1)
    probabilities = predictions.probabilities.astype(
        np.float64
    )  # float32 rows sum to 1 only within 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return Evaluation(
        accuracy=float(accuracy_score(labels, guesses)),
        loss=float(log_loss(labels, probabilities, labels=classes)),
        top_k=min(top_k, len(classes)),
        top_k_accuracy=_top_k_accuracy(probabilities, labels, top_k),
        per_class=_per_class(labels, guesses, class_names),
        confusion=confusion_matrix(labels, guesses, labels=classes).tolist(),
    )


def _top_k_accuracy(probabilities: np.ndarray, labels: np.ndarray, top_k: int) -> float:
    count = probabilities.shape[1]
    if top_k >= count:
        return 1.0
    return float(top_k_accuracy_score(labels, probabilities, k=top_k, labels=np.arange(count)))


def _per_class(labels: np.ndarray, guesses: np.ndarray, names: tuple[str, ...]) -> list[ClassScore]:
    columns = precision_recall_fscore_support(
        labels, guesses, labels=np.arange(len(names)), zero_division=0
    )
    rows = zip(names, *columns, strict=True)
    return [ClassScore(name, float(p), float(r), float(f), int(s)) for name, p, r, f, s in rows]
