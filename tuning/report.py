"""What a search leaves to look at: a leaderboard, and a page with pictures."""

import csv
import io
from collections.abc import Sequence
from html import escape
from typing import Any

from trainer import page
from tuning import figures
from tuning.config import TuneConfig
from tuning.importance import FEWEST, importances
from tuning.trial import Trial

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what begins one (OWASP, CSV injection)
MOST_AXES = 6  # more lines than these cross each other beyond reading


def leaderboard(trials: Sequence[Trial]) -> str:
    """Give one CSV line per trial, best first, a column for every dimension."""
    paths = dimensions(trials)
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    head = ["rank", "trial", "state", "score", "seconds", *paths, "reason"]
    writer.writerow(map(_no_formula, head))
    for rank, trial in enumerate(trials, start=1):
        values = [trial.values.get(path, "") for path in paths]
        score = "" if trial.score is None else trial.score
        reason = trial.reason or ""
        row = [rank, trial.id, trial.state, score, trial.seconds, *values, reason]
        writer.writerow(map(_no_formula, row))
    return buffer.getvalue()


def _no_formula(value: Any) -> Any:
    """Return a cell that a spreadsheet shows: text that it would compute begins with a quote."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def render(name: str, trials: Sequence[Trial], config: TuneConfig) -> str:
    """Give the page: how values and scores go together, what mattered, and every trial."""
    completed = [trial for trial in trials if trial.state == "COMPLETED"]
    paths = dimensions(completed)
    shares = importances(completed, paths) if len(completed) >= FEWEST and paths else {}
    sections = []
    if len(completed) >= 2 and paths:
        shown = list(shares or paths)[:MOST_AXES]
        lines = figures.parallel_coordinates(completed, shown, config.objective)
        left = f" The {MOST_AXES} that mattered most are drawn." if len(paths) > MOST_AXES else ""
        note = f"Each line is a trial; it crosses every axis at its value.{left}"
        drawn = page.wide_chart(lines, "parallel coordinates of all completed trials")
        sections.append(page.Section("Values and scores", drawn, note))
    if shares:
        bars = figures.bars(shares)
        note = "The share of the differences between scores that a random forest traces to each."
        drawn = page.charts([(bars, "importance of every dimension")])
        sections.append(page.Section("What mattered", drawn, note))
    sections.append(page.Section("Trials", _table(trials), "Best first."))
    header = f"<h1>{escape(name)}: search</h1>{page.paragraph(_summary(trials, config))}"
    return page.page(f"{name}: search", header, sections)


def dimensions(trials: Sequence[Trial]) -> list[str]:
    """Give every path that a trial has a value for."""
    return sorted({path for trial in trials for path in trial.values})


def short(value: Any) -> str:
    """Give a value in few characters."""
    if value is None:
        return "unset"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _summary(trials: Sequence[Trial], config: TuneConfig) -> str:
    completed = [trial for trial in trials if trial.state == "COMPLETED"]
    wanted = "lowest" if config.lowest_is_best else "highest"
    lines = [
        f"{len(completed)} of {len(trials)} trials completed. Algorithm: {config.algorithm}. "
        f"Objective: {config.objective}, {wanted} is best."
    ]
    if completed:
        lines.append(f"Best: trial {completed[0].id} with {completed[0].score:.4f}.")
    return "\n".join(lines)


def _table(trials: Sequence[Trial]) -> str:
    paths = dimensions(trials)
    rows = [
        (
            trial.id,
            trial.state,
            "" if trial.score is None else f"{trial.score:.4f}",
            f"{trial.seconds:.1f}",
            *(short(trial.values[path]) if path in trial.values else "" for path in paths),
            trial.reason or "",
        )
        for trial in trials
    ]
    names = figures.short_names(paths)
    return page.table(("trial", "state", "score", "seconds", *names, "reason"), rows)
