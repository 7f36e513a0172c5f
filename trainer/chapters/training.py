"""How the training went: its curves, its speed and where its time went."""

import statistics
from collections.abc import Sequence

from pipeline.dataset import Splits
from trainer import figures, page
from trainer.history import UPDATES, History, best_epoch, rollbacks
from trainer.page import Section
from trainer.summary import TrainingFacts


def curves(history: History, warnings: Sequence[str] = ()) -> Section:
    """Give loss and accuracy over epochs, the learning rate where it was recorded, and warnings."""
    best = best_epoch(history)
    kept = history[best - 1]
    drawn = [
        (
            figures.learning_curve(history, metric, best),
            f"{metric} over {len(history)} epochs: training {kept[metric]:.4f}, validation "
            f"{kept[f'val_{metric}']:.4f} at epoch {best}, which was kept",
        )
        for metric in ("loss", "accuracy")
    ]
    if "learning_rate" in history[0]:
        drawn.append((figures.rate_curve(history), "learning rate over epochs"))
    note = (
        f"{len(history)} epochs; the weights of epoch {best}, the lowest validation loss, are kept."
    )
    told = "".join(f"{page.badge('warning', 'fair')}{page.paragraph(text)}" for text in warnings)
    return Section(
        "Learning curves", told + page.charts(drawn), note + _rollbacks(history) + _lost(history)
    )


def speed(history: History, data: Splits, told: TrainingFacts) -> Section:
    """Give throughput, precision, the wait for input, and the seconds of each stage."""
    examples = data.steps_per_epoch * data.batch_size
    median = statistics.median(entry["seconds"] for entry in history)
    rows = [("throughput", f"{examples / median:,.0f} examples/s, validation included")]
    if told.precision:
        rows.append(("precision", told.precision))
    if shares := [entry["waiting_share"] for entry in told.waiting]:
        rows.append(
            (
                "waiting for input",
                f"{statistics.median(shares):.0%} of the steps' time; first epoch {shares[0]:.0%}",
            )
        )
    rows.append(("batch", f"{data.batch_size} examples, {data.steps_per_epoch} steps per epoch"))
    spent = [f"{stage} {seconds:,.1f}" for stage, seconds in told.seconds.items() if seconds >= 0.1]
    if spent:
        rows.append(("seconds", ", ".join(spent)))
    return Section("Speed", page.facts(rows))


def _lost(history: History) -> str:
    """Tell of the epochs in which no weight changed."""
    lost = [f"{entry['epoch']:.0f}" for entry in history if entry.get(UPDATES) == 0]
    if not lost:
        return ""
    return f" No weight changed in epoch {', '.join(lost)}: float16 overflowed in every step."


def _rollbacks(history: History) -> str:
    """Tell of the epochs whose loss blew up."""
    counts = rollbacks(history)
    if not counts:
        return ""
    total = sum(counts.values())
    epochs = ", ".join(map(str, counts))
    times = "1 time" if total == 1 else f"{total} times"
    return (
        f" The loss blew up: training went back {times} to the start of epoch {epochs}, each time "
        "with a smaller learning rate."
    )
