"""One self-contained HTML page about a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.dataset import DataInfo, Splits
from trainer import figures, page
from trainer.evaluate import Evaluation, Predictions
from trainer.history import History, best_epoch

MOST_MISTAKES = 12
MOST_CONFUSED = 40  # classes; a larger matrix is no longer read cell by cell
AUGMENTED = 6  # training images shown as they are and as they are trained on


@dataclass(frozen=True)
class RunSummary:
    """What the page tells of."""

    name: str
    info: DataInfo
    evaluation: Evaluation
    predictions: Predictions
    rules: list[dict[str, Any]] = field(default_factory=list)  # findings of the data check
    offenders: Sequence[tuple[str, np.ndarray]] = ()  # pictures of what broke a rule


def render(summary: RunSummary, history: History, model: keras.Model, data: Splits) -> str:
    """Give the page: scores, data, curves, confusion matrix, classes, mistakes and network."""
    curves = figures.learning_curves(history, best_epoch(history))
    scores = [(name, f"{value:.4f}") for name, value in summary.evaluation.metrics().items()]
    parts = [
        page.table(("score", "test split"), scores),
        page.section("Data", _data_table(summary.info)),
        page.section("Data check", _rules(summary), _offenders(summary)),
        page.section("Augmentation", _augmentation(data)),
        page.section("Training", page.picture(curves, "learning curves")),
        page.section("Confusion matrix", _confusion(summary.evaluation)),
        page.section("Classes", _class_table(summary.evaluation)),
        page.section("Most confident mistakes", _mistakes(summary, data.test)),
        page.section("Network", page.table(("layer", "output", "parameters"), _layers(model))),
    ]
    return page.page(summary.name, parts)


def _data_table(info: DataInfo) -> str:
    rows = [
        ("source", info.source),
        ("one example", "×".join(map(str, info.shape))),
        ("digest", info.digest[:16]),
    ]
    rows += [(f"{split} examples", f"{count:,}") for split, count in info.counts.items()]
    return page.table(("", ""), rows)


def _rules(summary: RunSummary) -> str:
    rows = [
        (
            rule["name"],
            "ok" if rule["ok"] else rule["severity"],
            f"{rule['value']:.4g}",
            f"{rule['limit']:.4g}",
            "; ".join(rule["examples"][:3]),
        )
        for rule in summary.rules
    ]
    return page.table(("rule", "verdict", "value", "limit", "examples"), rows)


def _offenders(summary: RunSummary) -> str:
    if not summary.offenders:
        return ""
    captions, images = zip(*summary.offenders, strict=True)
    return page.gallery(images, captions)


def _augmentation(data: Splits) -> str:
    if not data.info.is_image:
        return page.paragraph("None: the examples are vectors.")
    samples = data.sample(AUGMENTED)
    originals = page.gallery(samples.originals, ["as it is"] * len(samples.originals))
    return originals + page.gallery(samples.augmented, ["as trained on"] * len(samples.augmented))


def _confusion(evaluation: Evaluation) -> str:
    labels = [score.label for score in evaluation.per_class]
    if len(labels) > MOST_CONFUSED:
        return page.paragraph(f"{len(labels)} classes: evaluation.json has the matrix.")
    return page.shaded(labels, np.array(evaluation.confusion))


def _class_table(evaluation: Evaluation) -> str:
    rows = [
        (s.label, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", f"{s.support:,}")
        for s in evaluation.per_class
    ]
    return page.table(("class", "precision", "recall", "F1", "examples"), rows)


def _layers(model: keras.Model) -> list[tuple[str, ...]]:
    return [
        (layer.name, "×".join(map(str, layer.output.shape[1:])), f"{layer.count_params():,}")
        for layer in model.layers
    ]


def _mistakes(summary: RunSummary, test: tf.data.Dataset) -> str:
    probabilities, labels = summary.predictions.probabilities, summary.predictions.labels
    guesses, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(guesses != labels)
    worst = wrong[np.argsort(-confidence[wrong])][:MOST_MISTAKES]
    if not len(worst):
        return page.paragraph("None.")
    names = summary.info.class_names
    captions = [f"{names[guesses[i]]}, {confidence[i]:.0%}; is {names[labels[i]]}" for i in worst]
    if not summary.info.is_image:
        return page.paragraph("\n".join(captions))
    return page.gallery(_pick(test, worst), captions)


def _pick(test: tf.data.Dataset, rows: np.ndarray) -> list[np.ndarray]:
    """Give the inputs of the chosen rows, in the order asked for, holding one batch at a time."""
    wanted, start = set(rows.tolist()), 0
    found: dict[int, np.ndarray] = {}
    for images, _ in test.as_numpy_iterator():
        found |= {row: images[row - start] for row in wanted if start <= row < start + len(images)}
        start += len(images)
    return [found[row] for row in rows]
