"""Scores of groups of examples: who or what a good average leaves out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from trainer import bootstrap
from trainer.evaluate_config import EvaluateConfig

MOST_VALUES = 20  # of one column; the rest are scored together
OTHERS = "(all others)"
EMPTY = "(empty)"


@dataclass(frozen=True)
class SliceScore:
    """The examples that have one value in a metadata column."""

    column: str
    value: str
    count: int
    accuracy: float  # 0..1
    low: float  # of accuracy's interval
    high: float
    loss: float  # mean cross-entropy, in nats


def score_slices(
    metadata: Mapping[str, np.ndarray],
    hits: np.ndarray,
    losses: np.ndarray,
    config: EvaluateConfig,
) -> list[SliceScore]:
    """Score the values of every column of `config.slices`, the most frequent first.

    `hits` is bool [N], `losses` float [N]. Raises ValueError for a column that is not there.
    """
    check_columns(config.slices, tuple(metadata))
    return [
        _score(column, value, rows, (hits, losses), config)
        for column in config.slices
        for value, rows in _groups(metadata[column])
    ]


def check_columns(wanted: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raise ValueError when the data have no such column."""
    if missing := [name for name in wanted if name not in known]:
        raise ValueError(
            f"evaluate.slices: the test split has no metadata column {', '.join(missing)}. "
            f"Allowed: {', '.join(known) or 'none, for this source has no metadata'}"
        )


def _groups(values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Give each value with a mask over the rows that have it."""
    names, counts = np.unique(values, return_counts=True)
    ranked = names[np.argsort(-counts, kind="stable")]
    shown = ranked if len(ranked) <= MOST_VALUES else ranked[: MOST_VALUES - 1]
    for name in shown:
        yield str(name) or EMPTY, values == name
    if len(shown) < len(ranked):
        yield OTHERS, ~np.isin(values, shown)


def _score(
    column: str,
    value: str,
    rows: np.ndarray,
    scores: tuple[np.ndarray, np.ndarray],
    config: EvaluateConfig,
) -> SliceScore:
    hits, losses = (each[rows] for each in scores)
    interval = bootstrap.proportion(hits, config)
    return SliceScore(
        column=column,
        value=value,
        count=len(hits),
        accuracy=float(hits.mean()),
        low=interval.low,
        high=interval.high,
        loss=float(losses.mean()),
    )
