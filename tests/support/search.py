"""A search whose trials cost nothing: scores are a known function of the values."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuning.config import TuneConfig
from tuning.journal import Journal
from tuning.study import Study
from tuning.supervisor import Source, Supervisor
from tuning.trial import Assignment, Outcome, Report, Trial

SPACE = {
    "train.learning_rate": {"float": [1e-4, 1e-1], "sampling": "log"},
    "train.batch_size": {"int": [16, 64], "step": 16},
    "train.optimizer": {"choice": ["adam", "sgd"]},
}
OWN = {"train.learning_rate": 1e-3, "train.batch_size": 32, "train.optimizer": "sgd"}
Result = Callable[[Assignment], Outcome]


def config(**settings: Any) -> TuneConfig:
    """Give search settings; Hyperband's epochs are few."""
    if settings.get("algorithm") == "hyperband":
        settings["hyperband"] = {"max_epochs": 9, **settings.get("hyperband", {})}
    return TuneConfig.model_validate({"space": SPACE, **settings})


def peak_at_adam(assignment: Assignment) -> Outcome:
    """Score higher with adam, and the higher the more epochs."""
    best = 0.8 if assignment.values["train.optimizer"] == "adam" else 0.1
    epochs = assignment.epochs or 9
    return Outcome("scored", best + epochs / 100, epochs)


def drawn(study: Source) -> Assignment:
    """Return the next trial of a search that is not over."""
    assignment = study.next()
    assert assignment is not None
    return assignment


@dataclass
class MemoryPool:
    """A pool without processes: an assignment ends at the next look, as `result` says."""

    result: Result
    started: list[Assignment] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    megabytes: float = 0.0
    _open: dict[str, Assignment] = field(default_factory=dict)

    def start(self, slot: int, assignment: Assignment) -> None:
        self.started.append(assignment)
        self._open[assignment.trial] = assignment

    def kill(self, trial: str) -> None:
        self.killed.append(trial)

    def memory_mb(self, trial: str) -> float:
        return self.megabytes

    def wait(self, seconds: float) -> list[Report]:
        ended, self._open = self._open, {}
        return [Report(trial, outcome=self.result(given)) for trial, given in ended.items()]


@dataclass
class Notes:
    """A watcher that remembers."""

    begun: list[str] = field(default_factory=list)
    retried: list[tuple[str, str]] = field(default_factory=list)
    ended: list[Trial] = field(default_factory=list)

    def begin(self, assignment: Assignment) -> None:
        self.begun.append(assignment.trial)

    def progress(self, report: Report) -> None:
        pass

    def retry(self, trial: str, reason: str) -> None:
        self.retried.append((trial, reason))

    def end(self, trial: Trial) -> None:
        self.ended.append(trial)


@dataclass
class Rehearsal:
    """A search in a directory, run by a memory pool."""

    directory: Path

    def study(self, settings: TuneConfig, warm: list[dict[str, Any]] | None = None) -> Study:
        journal = Journal(self.directory / "journal.jsonl")
        return Study(settings, settings.space, journal, OWN, warm or [])

    def run(
        self, settings: TuneConfig, result: Result = peak_at_adam, until: int | None = None
    ) -> tuple[Study, MemoryPool, Notes]:
        """Run the search, or stop as a killed supervisor does after `until` ended trials."""
        study, pool, notes = self.study(settings), MemoryPool(result), Notes()
        stop = (lambda: len(study.trials) >= until) if until is not None else lambda: False
        Supervisor(study, pool, notes).run(stop)
        return study, pool, notes


def age(study: Study, seconds: float) -> None:
    """Let time pass for a study: all that its journal tells happened so much earlier."""
    for event in study.journal.events:
        event["at"] -= seconds


class Clock:
    """Time that stands still between two steps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
