"""The rows of a comparison as text, for the terminal and for the page."""

import json
from typing import Any

from jobs.comparison import Comparison, Side

Row = list[str]  # a name, then a text for each run
NONE = "–"


def setting_rows(comparison: Comparison) -> list[Row]:
    """Give the settings that differ."""
    return [
        [key, *(_setting(side.settings.get(key)) for side in comparison.sides)]
        for key in comparison.differing
    ]


def score_rows(comparison: Comparison) -> list[Row]:
    """Give every score with its interval."""
    names = list(dict.fromkeys(name for side in comparison.sides for name in side.metrics))
    return [[name, *(_score(side, name) for side in comparison.sides)] for name in names]


def fact_rows(comparison: Comparison) -> list[Row]:
    """Give epochs, throughput, seconds and size."""
    formats: dict[str, tuple[str, str]] = {
        "epochs": ("epochs", "{}"),
        "best_epoch": ("epoch kept", "{}"),
        "examples_per_second": ("examples per second", "{:,.0f}"),
        "waiting_share": ("waiting for input", "{:.0%}"),
        "precision": ("precision", "{}"),
        "seconds": ("seconds, all stages", "{:,.1f}"),
    }
    rows = [
        [title, *(_fact(side.facts[key], form) for side in comparison.sides)]
        for key, (title, form) in formats.items()
    ]
    sizes = [side.facts["model_bytes"] for side in comparison.sides]
    return [*rows, ["model, MB", *(NONE if s is None else f"{s / 1e6:,.2f}" for s in sizes)]]


def _setting(value: Any) -> str:
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _score(side: Side, name: str) -> str:
    value = side.metrics.get(name)
    if value is None:
        return NONE
    ends = side.intervals.get(name)
    return f"{value:.4f}" + (f" ({ends[0]:.4f} to {ends[1]:.4f})" if ends else "")


def _fact(value: Any, form: str) -> str:
    return NONE if value is None else form.format(value)
