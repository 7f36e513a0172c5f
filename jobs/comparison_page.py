"""A page that lays the curves of several runs over each other."""

from collections.abc import Callable
from string import ascii_uppercase

from jobs.comparison import Comparison
from jobs.comparison_table import Row, fact_rows, score_rows, setting_rows
from trainer import figures, page
from trainer.page import Section

CURVES = ("val_loss", "val_accuracy", "loss", "accuracy")


def render(comparison: Comparison) -> str:
    """Give the page: scores, curves, settings that differ, and what the runs cost."""
    letters = _letters(comparison)
    named = list(zip(letters, comparison.names, strict=True))
    header = f'<p class="eyebrow">{len(named)} runs</p><h1>Comparison</h1>{page.facts(named)}'
    sections = [
        Section(
            "Test scores",
            _accuracies(comparison) + _table(comparison, score_rows),
            _note(comparison),
        ),
        Section("Learning curves", _curves(comparison)),
    ]
    if comparison.differing:
        sections.append(Section("Settings that differ", _table(comparison, setting_rows)))
    sections.append(Section("Training", _table(comparison, fact_rows)))
    return page.page(f"{comparison.names[0]} and {len(named) - 1} more", header, sections)


def _letters(comparison: Comparison) -> list[str]:
    """Give a short name for each run: A to Z, then A2 and so on."""
    numbers = range(len(comparison.sides))
    return [ascii_uppercase[n % 26] + (str(n // 26 + 1) if n > 25 else "") for n in numbers]


def _note(comparison: Comparison) -> str:
    if not comparison.same_data:
        return "The runs were tested on different data: their scores do not compare."
    return "All were tested on the same examples. In brackets: the confidence interval."


def _accuracies(comparison: Comparison) -> str:
    ends = [side.intervals.get("accuracy") for side in comparison.sides]
    if not all(ends):
        return ""  # scored before there were intervals
    floor = min(0.95, int(min(low for low, _ in filter(None, ends)) * 20) / 20)
    rows = []
    for letter, side, interval in zip(_letters(comparison), comparison.sides, ends, strict=True):
        low, high = interval or (0.0, 1.0)
        value = side.metrics["accuracy"]
        drawn = page.whisker(*((x - floor) / (1 - floor) for x in (low, value, high)))
        rows.append([page.cell(letter), drawn, page.cell(f"{value:.2%}")])
    return page.rich_table(("run", f"accuracy from {floor:.0%} to 100%", "accuracy"), rows)


def _curves(comparison: Comparison) -> str:
    histories = dict(
        zip(_letters(comparison), (side.history for side in comparison.sides), strict=True)
    )
    drawn = [
        (figures.overlaid_curves(histories, metric), f"{metric} of all runs over epochs")
        for metric in CURVES
    ]
    return page.charts(drawn)


def _table(comparison: Comparison, rows_of: Callable[[Comparison], list[Row]]) -> str:
    return page.table(("", *_letters(comparison)), rows_of(comparison))
