"""`convoy schedule`: runs that start by themselves."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jobs import console, options
from jobs.exits import CommandError
from serving.stderr import visible

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

    from jobs.config import Job
    from jobs.schedule import Planned

Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Job files (TOML).")]
Cron = Annotated[
    str | None,
    typer.Option(help='When the jobs are due: a cron expression, such as "0 3 * * *", or @daily.'),
]
Every = Annotated[
    float | None, typer.Option(min=1, metavar="SECONDS", help="A fixed interval, beside --cron.")
]
Timezone = Annotated[
    str | None,
    typer.Option(help="Whose clock --cron means, such as Europe/Berlin.", show_default="this host"),
]
Jitter = Annotated[
    int, typer.Option(min=0, metavar="SECONDS", help="Up to so much is added to each due time.")
]
Grace = Annotated[
    float,
    typer.Option(min=1, metavar="SECONDS", help="A run missed by at most this is made up for."),
]
Retries = Annotated[
    int, typer.Option(min=0, help="How often an interrupted or killed run is resumed.")
]
RetryDelay = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="How long to wait before each of these.")
]
Webhook = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL|@FILE",
        envvar="CONVOY_WEBHOOK",
        help="Each outcome is posted there as JSON; the address may be a file's first line, since "
        "others see a command line. Repeatable.",
    ),
]
OnOutcome = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COMMAND",
        help="Run on each outcome: JSON on stdin, CONVOY_OUTCOME, CONVOY_RUN, CONVOY_VERSION and "
        "so on in the environment. No shell reads it: for pipes and redirections, sh -c '...'. "
        "Repeatable.",
    ),
]
OnFailure = Annotated[
    list[str] | None,
    typer.Option(metavar="COMMAND", help="The same, on failures alone. Repeatable."),
]
State = Annotated[Path, typer.Option(metavar="FILE", help="Where last and next runs are kept.")]
STATE = Path("runs/schedule.json")


class DefaultGroup(TyperGroup):
    """Takes `schedule CONFIG...` for `schedule start CONFIG...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultGroup,
    no_args_is_help=True,
    help="Start runs when they are due. `convoy schedule CONFIG...` is short for "
    "`convoy schedule start CONFIG...`.",
)


@app.command("start")
def start(
    configs: Configs,
    cron: Cron = None,
    every: Every = None,
    timezone: Timezone = None,
    jitter: Jitter = 0,
    grace: Grace = 3600.0,
    retries: Retries = 2,
    retry_delay: RetryDelay = 30.0,
    webhook: Webhook = None,
    on_outcome: OnOutcome = None,
    on_failure: OnFailure = None,
    set_: options.Overrides = None,
    runs: options.Runs = Path("runs"),
    state: State = STATE,
) -> None:
    """Run each job when it is due, one at a time, until SIGTERM.

    SIGTERM is passed on to the run and its end is waited for; the run is resumed when a schedule
    starts again. So is one whose scheduler was killed, and the run with it. Ends with 0.
    """
    console.start_logging()
    from jobs.attempts import Attempts, Patience
    from jobs.notice import Listeners, Notifier
    from jobs.schedule import Schedule
    from jobs.signals import Signals
    from jobs.timetable import Timetable

    try:
        trigger = _trigger(cron, every, timezone, jitter)
        planned = [_plan(path, trigger, set_, runs) for path in configs]
        listeners = Listeners(_addresses(webhook or ()), on_outcome or (), on_failure or ())
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    _check_names([job.name for job in planned])
    attempts = Attempts(Patience(retries, retry_delay), _echo)
    with Timetable(state) as timetable:
        schedule = Schedule(planned, timetable, attempts, Notifier(listeners), grace)
        signals = Signals()
        signals.listen()
        try:
            schedule.run(signals)
        except ValueError as problem:
            raise CommandError(str(problem)) from None


@app.command("status")
def status(state: State = STATE, json: options.Json = False) -> None:
    """Show each job's last and next run, and whether the scheduler is there."""
    from jobs import timetable

    found = timetable.read(state)
    if json:
        console.print_json(found)
        return
    rows = [_row(name, entry, found["alive"]) for name, entry in found["jobs"].items()]
    title = f"schedule in {state}: " + ("running" if found["alive"] else "stopped")
    console.print_table(title, ["job", "now", "last ended", "outcome", "run", "next"], rows)


def _trigger(
    cron: str | None, every: float | None, timezone: str | None, jitter: int
) -> "Callable[[datetime | None], BaseTrigger]":
    """Give what makes a job's trigger of the time it last started. Raises ValueError."""
    from jobs import cron as times

    if (cron is None) == (every is None):
        raise ValueError(
            'expected either --cron "MINUTE HOUR DAY MONTH WEEKDAY" or --every SECONDS'
        )
    if cron is not None:
        where = times.zone(timezone) if timezone else times.local_zone()
        clock = times.WallClock(cron, where, jitter)
        return lambda last: clock
    if timezone is not None:
        raise ValueError("--timezone goes with --cron: an interval is the same everywhere")
    seconds = every or 0.0
    return lambda last: times.every(seconds, jitter, last)


def _plan(
    path: Path,
    trigger: "Callable[[datetime | None], BaseTrigger]",
    overrides: Sequence[str] | None,
    runs: Path,
) -> "Planned":
    """Check a job file now: one that is wrong should not be found out at night."""
    from jobs.config import load
    from jobs.leash import convoy
    from jobs.schedule import Planned

    job: Job = load(path, list(overrides or ()))
    settings = [word for override in overrides or () for word in ("--set", override)]

    def command(resume: str | None) -> list[str]:
        what = ["--resume", resume] if resume else [str(path), *settings]
        return [*convoy("run", *what, "--runs", str(runs), "--json")]

    return Planned(job.name, command, trigger)


def _check_names(names: Sequence[str]) -> None:
    if double := {name for name in names if names.count(name) > 1}:
        raise CommandError(
            f"two job files have the name {', '.join(sorted(double))}: a name is one model's"
        )


def _addresses(webhooks: Sequence[str]) -> list[str]:
    """Return the addresses, those of `@FILE` from the file."""
    return [
        Path(given[1:]).read_text(encoding="utf-8").partition("\n")[0].strip()
        if given.startswith("@")
        else given
        for given in webhooks
    ]


def _echo(line: str) -> None:
    sys.stderr.write(f"{visible(line)}\n")
    sys.stderr.flush()


def _row(name: str, entry: dict[str, Any], alive: bool) -> list[Any]:
    last = entry.get("last") or {}
    shown = (last.get(key) or "" for key in ("ended", "outcome", "run"))
    return [name, _now(entry, alive), *shown, entry.get("next") or ""]


def _now(entry: dict[str, Any], alive: bool) -> str:
    """Say what a job does; one that its scheduler left behind goes on when the next one starts."""
    if alive and entry.get("running"):
        return "running"
    if entry.get("resume"):
        return "to be resumed"
    return "waiting" if entry.get("running") or entry.get("waiting") else ""
