"""One trial of a search: what it is asked to do, how it ended, and its row among the others."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuning.space import Values

Ending = Literal["scored", "raised", "memory", "killed", "no_room"]
TUNER_KEYS = "tuner/"  # what Hyperband adds to the values of a trial


@dataclass(frozen=True)
class Trial:
    """One set of values and how it did."""

    id: str
    state: str  # COMPLETED, FAILED, STOPPED or RUNNING
    values: Values
    score: float | None  # the objective, at the epoch whose weights are kept
    seconds: float
    reason: str | None  # why it failed or was stopped

    def to_json(self) -> dict[str, Any]:
        """Give the trial as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Assignment:
    """What a process is to train."""

    trial: str
    values: Values
    epochs: int | None = None  # Hyperband's share, counted from the parent's start
    parent: str | None = None  # the trial whose state this one continues
    halvings: int = 0  # of the batch, after the trial ran out of memory

    def to_json(self) -> dict[str, Any]:
        """Give the assignment as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a trial ended."""

    ending: Ending
    score: float | None = None
    epochs: int = 0  # trained in all, those of the parent included
    reason: str | None = None


@dataclass(frozen=True)
class Report:
    """A sign of life of a trial; with an outcome, its last."""

    trial: str
    epoch: int = 0  # epochs done
    score: float | None = None  # after that epoch
    outcome: Outcome | None = None


def split_values(drawn: Values) -> tuple[Values, Values]:
    """Part the values of the space from those that Hyperband adds for itself."""
    own = {path: value for path, value in drawn.items() if not path.startswith(TUNER_KEYS)}
    added = {
        path.removeprefix(TUNER_KEYS): value
        for path, value in drawn.items()
        if path.startswith(TUNER_KEYS)
    }
    return own, added


def best_first(trials: Iterable[Trial], lowest_is_best: bool) -> list[Trial]:
    """Order trials by score; those without one come last, in the order of their ids."""
    sign = 1 if lowest_is_best else -1

    def place(trial: Trial) -> tuple[bool, float, str]:
        completed = trial.state == "COMPLETED" and trial.score is not None
        return (not completed, sign * (trial.score or 0.0) if completed else 0.0, trial.id)

    return sorted(trials, key=place)
