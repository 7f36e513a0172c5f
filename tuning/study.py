"""A search in progress: which trial comes next, which are retried, what each one scored.

Everything is decided by KerasTuner's oracle and the journal. A search that was cut off is taken up
by going through the journal again with a fresh oracle, which then stands where the old one stood.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras_tuner

from tuning.config import TuneConfig
from tuning.journal import DamagedJournal, Event, Journal
from tuning.oracles import make_oracle
from tuning.space import Space, Values, is_member
from tuning.trial import Assignment, Outcome, Trial, best_first, split_values

OWN = "own"  # the id of the job's own configuration where the algorithm cannot hold it
MOST_HALVINGS = 5  # a thirty-second of the batch
Status = keras_tuner.engine.trial.TrialStatus


class Study:
    """The trials of one search. One thread drives it: KerasTuner's lock survives no exception."""

    def __init__(
        self,
        config: TuneConfig,
        space: Space,
        journal: Journal,
        own: Values,
        warm: Sequence[Values] = (),
    ) -> None:
        """Begin a search, or take up the one in the journal.

        `own` are the job's present values, tried first; `warm` come next. Raises DamagedJournal
        when the journal tells of another search than these settings make.
        """
        self.config, self.space, self.journal = config, space, journal
        if not journal.events:
            journal.append({"event": "begin", "own": own, "warm": list(warm)})
        first = journal.events[0]
        if first["event"] != "begin":
            raise DamagedJournal(f"{journal.path} does not begin with the event begin")
        self.own: Values = first["own"]
        self.held = is_member(space, self.own)
        own_first = [self.own] if self.held else []
        self.oracle = make_oracle(config, space, self.own, [*own_first, *first["warm"]])
        self.trials: dict[str, Trial] = {}
        self.running: dict[str, Assignment] = {}
        self.exhausted = False  # the last trial is made
        self.cut: str | None = None  # why the search ends before its end
        self._waiting: list[str] = []  # to be handed out again
        self._retries: dict[str, int] = {}
        self._created: dict[str, float] = {}  # when, in unix time
        for event in journal.events[1:]:
            self._replay(event)
        self._waiting = list(self.running)
        journal.append({"event": "open"})

    def next(self) -> Assignment | None:
        """Give the next trial to run; None when there is none now, or none at all any more."""
        if self.is_cut():
            return None
        if self._waiting:
            return self.running[self._waiting.pop(0)]
        assignment = None if self.exhausted else self._create()
        if assignment is not None:
            self.journal.append({"event": "create", **assignment.to_json()})
            self._created[assignment.trial] = time.time()
        return assignment

    def finish(self, trial: str, outcome: Outcome) -> Trial | None:
        """Take in how an attempt ended; None when the trial is to be tried again."""
        again = self._next_attempt(trial, outcome)
        if again is not None:
            halvings, reason = again.halvings, outcome.reason
            event = {"event": "retry", "trial": trial, "halvings": halvings, "reason": reason}
            self.journal.append(event)
            self._try_again(trial, halvings)
            self._waiting.append(trial)
            return None
        scored = outcome.ending == "scored"
        return self._end(trial, "COMPLETED" if scored else "FAILED", outcome.score, outcome.reason)

    def stop(self, trial: str, reason: str) -> Trial:
        """End a trial that nobody will finish, without a score."""
        return self._end(trial, "STOPPED", None, reason)

    def keep(self, trial: str) -> None:
        """Leave a trial with the worker that has had it since before this study was opened."""
        self._waiting.remove(trial)

    def give_back(self, trial: str) -> None:
        """Hand a trial out again that was stopped on request; no retry is used up."""
        self.journal.append({"event": "release", "trial": trial})
        self._waiting.append(trial)

    def is_cut(self) -> bool:
        """Tell whether the search ends before its end: `cut` then says why."""
        if self.cut is None and self.minutes_left() <= 0:
            self.cut = f"tune.max_minutes = {self.config.max_minutes:g} are over"
        return self.cut is not None

    @property
    def is_over(self) -> bool:
        """Tell whether all is done: nothing runs, and nothing more will."""
        return not self.running and (self.exhausted or self.cut is not None)

    def ranked(self) -> list[Trial]:
        """Give all ended trials, best first."""
        return best_first(self.trials.values(), self.config.lowest_is_best)

    def best(self) -> Trial | None:
        """Give the best completed trial."""
        ranked = self.ranked()
        return ranked[0] if ranked and ranked[0].state == "COMPLETED" else None

    def hyperparameters(self, values: Values) -> dict[str, Any]:
        """Give values as KerasTuner's `HyperParameters.get_config()`, which TFX reads too."""
        found = self.oracle.get_space()
        found.values = dict(values)
        config: dict[str, Any] = found.get_config()
        return config

    def minutes_left(self) -> float:
        """Give how long trials may still run, pauses between sessions left out."""
        if self.config.max_minutes is None:
            return math.inf
        spent, opened, last = 0.0, None, 0.0
        for event in self.journal.events:
            if event["event"] == "open":
                spent += last - opened if opened is not None else 0.0
                opened = event["at"]
            last = event["at"]
        spent += time.time() - opened if opened is not None else 0.0
        return self.config.max_minutes - spent / 60

    def _create(self) -> Assignment | None:
        if not self.held and OWN not in self.trials and OWN not in self.running:
            return self._run(Assignment(OWN, self.own))
        if self._limit_reached():
            self.exhausted = True
            return None
        # A tuner id of its own for each trial: an id that has a trial is given the same again.
        trial = self.oracle.create_trial(f"slot{len(self.oracle.trials)}")
        if trial.status == Status.RUNNING:
            values, added = split_values(trial.hyperparameters.values)
            parent = added.get("trial_id")
            return self._run(Assignment(trial.trial_id, values, added.get("epochs"), parent))
        self.exhausted = not self.running  # else a trial that runs may make way for others
        return None

    def _limit_reached(self) -> bool:
        limit = self.config.trial_limit
        return limit is not None and len(self.trials) + len(self.running) >= limit

    def _run(self, assignment: Assignment) -> Assignment:
        self.running[assignment.trial] = assignment
        return assignment

    def _next_attempt(self, trial: str, outcome: Outcome) -> Assignment | None:
        assignment = self.running[trial]
        if outcome.ending == "memory" and assignment.halvings < MOST_HALVINGS:
            return replace(assignment, halvings=assignment.halvings + 1)
        if outcome.ending == "killed" and self._retries.get(trial, 0) < self.config.retries:
            return assignment
        return None

    def _try_again(self, trial: str, halvings: int) -> None:
        if halvings == self.running[trial].halvings:
            self._retries[trial] = self._retries.get(trial, 0) + 1
        self.running[trial] = replace(self.running[trial], halvings=halvings)

    def _end(self, trial: str, state: str, score: float | None, reason: str | None) -> Trial:
        seconds = round(time.time() - self._created.get(trial, time.time()), 3)
        ended = Trial(trial, state, self.running[trial].values, score, seconds, reason)
        self.journal.append({"event": "end", **ended.to_json()})
        self._take_in(ended)
        return ended

    def _take_in(self, ended: Trial) -> None:
        del self.running[ended.id]
        self.trials[ended.id] = ended
        if ended.id != OWN:
            trial = self.oracle.trials[ended.id]
            trial.status = Status.FAILED
            trial.message = ended.reason
            if ended.score is not None and ended.state == "COMPLETED":
                trial.status = Status.COMPLETED
                self.oracle.update_trial(ended.id, {self.config.objective: ended.score})
            self.oracle.end_trial(trial)
        failed = sum(trial.state == "FAILED" for trial in self.trials.values())
        if failed >= self.config.max_failed and self.cut is None:
            self.cut = f"{failed} trials failed, as many as tune.max_failed allows"

    def _replay(self, event: Event) -> None:
        if event["event"] == "create":
            self._replay_create(event)
        elif event["event"] == "retry":
            self._try_again(event["trial"], event["halvings"])
        elif event["event"] == "end":
            fields = ("id", "state", "values", "score", "seconds", "reason")
            self._take_in(Trial(**{name: event[name] for name in fields}))

    def _replay_create(self, event: Event) -> None:
        made = self._create()
        if made is None or (made.trial, made.values) != (event["trial"], event["values"]):
            raise DamagedJournal(
                f"{self.journal.path} tells of trial {event['trial']} with {event['values']}, "
                f"where these settings make {made}. A search keeps the settings it began with"
            )
        self._created[made.trial] = event["at"]
