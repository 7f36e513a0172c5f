"""The top of a run's page: what came out, in numbers that can be read from afar."""

from html import escape

import keras

from trainer import flops, page
from trainer.evaluate import Evaluation
from trainer.summary import RunSummary

BADGES = {
    "published": ("published", "good"),
    "not_blessed": ("not blessed", "bad"),
    "trained": ("trained, not published", ""),
}


def headline(summary: RunSummary, model: keras.Model) -> str:
    """Give the page's header: name, verdict, accuracy with its interval, and the main scores."""
    text, kind = BADGES.get(summary.status, (summary.status, ""))
    source = f"{model.name} on {summary.info.source}"
    version = f" · version {summary.version}" if summary.version else ""
    return "\n".join(
        [
            f'<p class="eyebrow">{escape(source + version)}</p>',
            f"<h1>{escape(summary.name)}</h1>",
            page.badge(text, kind),
            f'<div class="hero"><div>{_accuracy(summary.evaluation)}</div>',
            f"{page.cards(_cards(summary.evaluation, model))}</div>",
        ]
    )


def _accuracy(evaluation: Evaluation) -> str:
    tested = sum(map(sum, evaluation.confusion))
    interval = evaluation.intervals["accuracy"]
    value = f"{100 * evaluation.accuracy:.{decimals(tested)}f}"
    ends = f"{percent(interval.low, tested)} to {percent(interval.high, tested)}"
    wrong = tested - sum(row[i] for i, row in enumerate(evaluation.confusion))
    return (
        f'<div class="value">{value}<span class="unit"> %</span></div>'
        f"<p>accuracy on {tested:,} test examples, {wrong:,} of them wrong</p>"
        f'<p class="quiet">{evaluation.confidence:.0%} interval {ends}</p>'
    )


def _cards(evaluation: Evaluation, model: keras.Model) -> list[tuple[str, str, str]]:
    cost = flops.count(model)
    loss, macro = evaluation.intervals["loss"], evaluation.intervals["macro_f1"]
    error, tendency = evaluation.calibration.error, _tendency(evaluation)
    size, work = engineering(cost.parameters), engineering(cost.multiply_adds)
    return [
        ("log loss", f"{evaluation.loss:.4f}", f"{loss.low:.4f} to {loss.high:.4f}"),
        ("macro F1", f"{evaluation.macro_f1:.3f}", f"{macro.low:.3f} to {macro.high:.3f}"),
        ("weighted F1", f"{evaluation.weighted_f1:.3f}", "by examples of a class"),
        *_top_k(evaluation),
        ("calibration error", f"{error:.3f}", tendency),
        ("parameters", size, f"{work} mult-adds"),
    ]


def _top_k(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    share = evaluation.top_k_accuracy
    if share is None:
        return []
    return [(f"top-{evaluation.top_k}", f"{share:.1%}", "label among the best")]


def _tendency(evaluation: Evaluation) -> str:
    interval = evaluation.intervals["calibration_error"]
    return evaluation.calibration.tendency(interval).partition(",")[0]


def decimals(examples: int) -> int:
    """Give the decimals of a percentage that so many examples can carry."""
    return 1 if examples < 5000 else 2


def percent(share: float, examples: int) -> str:
    """Write a share of so many examples."""
    return f"{share:.{decimals(examples)}%}"


def engineering(number: float) -> str:
    """Write a count with three digits and a unit: 61,706 is 61.7 k."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"
