"""One self-contained HTML page about a run."""

from collections.abc import Iterator

import keras

from pipeline.dataset import Splits
from trainer import page
from trainer.chapters import matrix, network, pictures, provenance, rules, scores, training
from trainer.chapters.headline import headline
from trainer.history import History
from trainer.page import Section
from trainer.summary import RunSummary


def render(summary: RunSummary, history: History, model: keras.Model, data: Splits) -> str:
    """Give the page; parts that the summary has nothing for are left out."""
    header = headline(summary, model)
    return page.page(summary.name, header, _sections(summary, history, model, data))


def _sections(
    summary: RunSummary, history: History, model: keras.Model, data: Splits
) -> Iterator[Section]:
    """Give the sections in a reader's order: verdict, quality, then how it came about."""
    evaluation = summary.evaluation
    if summary.blessing:
        yield rules.blessing(summary.blessing)
    if history:
        yield training.curves(history, summary.training.warnings)
    yield matrix.confusion(evaluation)
    yield pictures.mistakes(summary, data)
    yield scores.classes(evaluation)
    yield scores.calibration(evaluation)
    if evaluation.slices:
        yield scores.slices(evaluation)
    if summary.info.is_image:
        yield pictures.training_images(data)
    yield network.network(model)
    if history:
        yield training.speed(history, data, summary.training)
    yield from summary.more
    yield provenance.data(summary.info)
    if summary.rules:
        yield rules.data_check(summary)
    yield provenance.provenance(summary)
