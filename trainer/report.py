"""One self-contained HTML page about a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from pipeline.dataset import DataInfo, Splits
from trainer import figures
from trainer.callbacks import best_epoch
from trainer.checkpoint import History
from trainer.evaluate import Evaluation, Predictions

MOST_MISTAKES = 12
AUGMENTED = 6  # training images shown as they are and as they are trained on

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem;
color: #222 }} img {{ max-width: 100%; height: auto }} .scroll {{ overflow-x: auto }} table {{
border-collapse: collapse; font-variant-numeric: tabular-nums }} th, td {{ padding: .2rem .7rem;
text-align: right; border-bottom: 1px solid #ddd }} th:first-child, td:first-child {{ text-align:
left }} </style></head><body><h1>{title}</h1> {body} </body></html>
"""


@dataclass(frozen=True)
class RunSummary:
    """What the page tells of."""

    name: str
    info: DataInfo
    evaluation: Evaluation
    predictions: Predictions


def render(summary: RunSummary, history: History, model: keras.Model, data: Splits) -> str:
    """Give the page.

    Scores, samples, curves, confusion matrix, per-class table and the most confident mistakes.
    """
    kept = best_epoch(history)
    parts = [
        _table(
            ("score", "test split"),
            [(k, f"{v:.4f}") for k, v in summary.evaluation.metrics().items()],
        ),
        _section("Data", _data_table(summary.info)),
        _section("Augmentation", _augmentation(data)),
        _section("Training", _picture(figures.learning_curves(history, kept), "learning curves")),
        _section(
            "Confusion matrix", _picture(figures.confusion(summary.evaluation), "confusion matrix")
        ),
        _section("Classes", _class_table(summary.evaluation)),
        _section("Most confident mistakes", _mistakes(summary, data.test)),
        _section("Network", _table(("layer", "output", "parameters"), _layers(model))),
    ]
    return PAGE.format(title=escape(summary.name), body="\n".join(parts))


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def _picture(figure: Figure, description: str) -> str:
    return f'<img alt="{escape(description)}" src="{figures.data_uri(figure)}">'


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    ]
    return '<div class="scroll"><table>' + "\n".join(lines) + "</table></div>"


def _data_table(info: DataInfo) -> str:
    rows = [
        ("source", info.source),
        ("one example", "×".join(map(str, info.shape))),
        ("digest", info.digest[:16]),
    ]
    rows += [(f"{split} examples", f"{count:,}") for split, count in info.counts.items()]
    return _table(("", ""), rows)


def _augmentation(data: Splits) -> str:
    if not data.info.is_image:
        return "<p>None: the examples are vectors.</p>"
    samples = data.sample(AUGMENTED)
    captions = ["as it is"] * len(samples.originals) + ["as trained on"] * len(samples.augmented)
    images = [*samples.originals, *samples.augmented]
    columns = len(samples.originals)
    return _picture(figures.gallery(images, captions, columns), "training images")


def _class_table(evaluation: Evaluation) -> str:
    rows = [
        (s.label, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", f"{s.support:,}")
        for s in evaluation.per_class
    ]
    return _table(("class", "precision", "recall", "F1", "examples"), rows)


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
        return "<p>None.</p>"
    names = summary.info.class_names
    captions = [f"{names[guesses[i]]}, {confidence[i]:.0%}\nis {names[labels[i]]}" for i in worst]
    if not summary.info.is_image:
        return "<p>" + "<br>".join(escape(caption) for caption in captions) + "</p>"
    return _picture(figures.gallery(_pick(test, worst), captions), "mistakes")


def _pick(test: tf.data.Dataset, rows: np.ndarray) -> list[np.ndarray]:
    """Give the inputs of the chosen rows, in the order asked for, holding one batch at a time."""
    wanted, start = set(rows.tolist()), 0
    found: dict[int, np.ndarray] = {}
    for images, _ in test.as_numpy_iterator():
        found |= {row: images[row - start] for row in wanted if start <= row < start + len(images)}
        start += len(images)
    return [found[row] for row in rows]
