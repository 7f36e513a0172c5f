"""The live table of a search, on stderr: a table on a terminal, else one line per event."""

import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.live import Live
from rich.table import Table

from jobs import console
from tuning.report import dimensions, short
from tuning.trial import Assignment, Report, Trial, best_first

SHOWN = 20  # rows: the trials that run, and the best of the others


class Board:
    """Draws trials as they begin, go on and end."""

    def __init__(
        self, lowest_is_best: bool, ended: list[Trial], on_terminal: bool | None = None
    ) -> None:
        """`ended` are the trials of earlier sessions; `on_terminal` None looks for itself."""
        self.lowest_is_best = lowest_is_best
        self.trials = {trial.id: trial for trial in ended}
        self.begun: dict[str, float] = {}
        self.epochs: dict[str, int] = {}
        self.live = Live(console=console.stderr, auto_refresh=False, transient=True)
        self.on_terminal = console.stderr.is_terminal if on_terminal is None else on_terminal

    def __enter__(self) -> "Board":
        if self.on_terminal:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.on_terminal:
            with suppress(Exception):  # what went wrong before matters more
                self.live.stop()

    def begin(self, assignment: Assignment) -> None:
        """Show a trial that starts or starts again."""
        self.begun[assignment.trial] = time.monotonic()
        values = assignment.values
        self.trials[assignment.trial] = Trial(assignment.trial, "RUNNING", values, None, 0.0, None)
        self._draw()

    def progress(self, report: Report) -> None:
        """Show the epoch that a trial has reached."""
        trial = self.trials.get(report.trial)
        if trial is None or not report.epoch:
            return
        self.epochs[report.trial] = report.epoch
        seconds = time.monotonic() - self.begun.get(report.trial, time.monotonic())
        self.trials[report.trial] = Trial(
            trial.id, trial.state, trial.values, report.score, seconds, None
        )
        self._draw()

    def retry(self, trial: str, reason: str) -> None:
        """Say that a trial will be tried again."""
        self._say(f"trial {trial}: {reason}; it is tried again")

    def end(self, trial: Trial) -> None:
        """Show how a trial ended."""
        self.trials[trial.id] = trial
        done = f"{trial.score:.4f}" if trial.score is not None else trial.state.lower()
        values = "  ".join(f"{path} {short(value)}" for path, value in trial.values.items())
        reason = f"  ({trial.reason})" if trial.reason else ""
        if not self.on_terminal:
            self._say(f"trial {trial.id}: {done}  {trial.seconds:.1f} s  {values}{reason}")
        self._draw()

    def _say(self, text: str) -> None:
        console.stderr.print(text, soft_wrap=True)

    def _draw(self) -> None:
        if self.on_terminal:
            self.live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        running = [trial for trial in self.trials.values() if trial.state == "RUNNING"]
        ended = [trial for trial in self.trials.values() if trial.state != "RUNNING"]
        rows = [*running, *best_first(ended, self.lowest_is_best)][:SHOWN]
        return trial_table("", rows, self.epochs)


def trial_table(title: str, trials: list[Trial], epochs: dict[str, int]) -> Table:
    """Give trials as a table with a column for every dimension."""
    paths = dimensions(trials)
    names = [path.rpartition(".")[2] for path in paths]
    heads = names if len(set(names)) == len(names) else paths
    table = Table(title=console.cell(title) if title else None, title_justify="left")
    for head in ("trial", "state", "score", "seconds", *heads):
        table.add_column(console.cell(head))
    for trial in trials:
        row = [*_cells(trial, epochs), *(_cell(trial, path) for path in paths)]
        table.add_row(*map(console.cell, row))
    return table


def _cells(trial: Trial, epochs: dict[str, int]) -> list[str]:
    epoch = epochs.get(trial.id)
    state = f"epoch {epoch}" if trial.state == "RUNNING" and epoch else trial.state.lower()
    score = "" if trial.score is None else f"{trial.score:.4f}"
    return [trial.id, state, score, f"{trial.seconds:.1f}"]


def _cell(trial: Trial, path: str) -> str:
    value: Any = trial.values.get(path)
    return short(value) if path in trial.values else ""
