"""Scores class by class, group by group, and whether the network knows how sure it may be."""

from trainer import figures, page
from trainer.chapters.headline import percent
from trainer.evaluate import ClassScore, Evaluation
from trainer.page import Section
from trainer.slices import SliceScore

MOST_CLASSES = 60  # all others are in the evaluation's file


def classes(evaluation: Evaluation) -> Section:
    """Give precision, recall and F1 of every class, the worst F1 first when there are many."""
    scores = evaluation.per_class
    note = "Precision: how often the answer is right. Recall: how much of the class is found."
    if len(scores) > MOST_CLASSES:
        note += f" The {MOST_CLASSES} classes of {len(scores)} with the lowest F1 are shown."
        scores = sorted(scores, key=lambda score: score.f1)[:MOST_CLASSES]
    head = ("class", "precision", "recall", "F1", "examples")
    return Section("Classes", page.rich_table(head, [_class_row(s) for s in scores]), note)


def _class_row(score: ClassScore) -> list[str]:
    shares = [page.bar(f"{x:.3f}", x) for x in (score.precision, score.recall, score.f1)]
    return [page.cell(score.label), *shares, page.cell(f"{score.support:,}")]


def calibration(evaluation: Evaluation) -> Section:
    """Give the reliability diagram."""
    found = evaluation.calibration
    error, interval = found.error, evaluation.intervals["calibration_error"]
    note = (
        f"Expected calibration error {error:.3f} over {len(found.bins)} bins, "
        f"{evaluation.confidence:.0%} interval {interval.low:.3f} to {interval.high:.3f}: the "
        f"network is {found.tendency(interval)}. A bar that ends at its diamond is honest."
    )
    described = f"reliability diagram: accuracy over confidence, calibration error {error:.3f}"
    return Section(
        "Calibration", page.charts([(figures.reliability_diagram(found), described)]), note
    )


def slices(evaluation: Evaluation) -> Section:
    """Give accuracy with its interval for every value of every metadata column asked for."""
    found = evaluation.slices
    least = min(score.low for score in found)
    floor = min(0.95, int(least * 20) / 20)  # the axis starts below the lowest end, at a twentieth
    head = ("group", f"accuracy from {floor:.0%} to 100%", "accuracy", "log loss")
    rows = [_slice_row(score, floor) for score in found]
    note = f"The line is the {evaluation.confidence:.0%} interval: few examples, long line."
    return Section("Slices", page.rich_table(head, rows), note)


def _slice_row(score: SliceScore, floor: float) -> list[str]:
    ends = [(x - floor) / (1 - floor) for x in (score.low, score.accuracy, score.high)]
    return [
        page.noted(score.value, f"{score.column}, {score.count:,} examples"),
        page.whisker(*ends),
        page.cell(percent(score.accuracy, score.count)),
        page.cell(f"{score.loss:.3f}"),
    ]
