"""When a schedule is due: cron expressions by the wall clock of a time zone, or a fixed interval.

APScheduler's own cron trigger takes 0 for Monday, joins day and weekday by "and", and fires twice
in the hour that the end of summer time repeats, whatever it is told. Here they mean what cron(8)
means.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = ("minute", "hour", "day", "month", "day_of_week")
SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
TICK = timedelta(microseconds=1)
PUT_BACK = timedelta(hours=3)  # more than any clock is, as cron(8) has it
WEEKDAYS = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")


class WallClock(BaseTrigger):
    """Due when the wall clock of `zone` matches an expression.

    Summer time is what cron(8) makes of it. Expressions that are due every hour or more often, by a
    `*` for the minute or the hour, follow the clock: through both passes of the hour that the end
    of summer time repeats, and not at times that its start leaves out. Others are due once: in the
    first pass, or an hour later by the clock. `jitter`: up to so many seconds are added, so that
    many machines do not start at once.
    """

    def __init__(self, expression: str, zone: tzinfo, jitter: float = 0.0) -> None:
        self.expression = expression
        self.zone = zone
        self._jitter = jitter
        self._patterns = _patterns(expression)
        self._follows = _is_frequent(expression)

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Give the first time after `previous`, or from `now` on; None when there is none."""
        after = previous.astimezone(UTC) if previous else now.astimezone(UTC) - TICK
        found = (self._first_pass(after), self._second_pass(after) if self._follows else None)
        due = min((time for time in found if time), default=None)
        return due and self._apply_jitter(due, self._jitter, now).astimezone(self.zone)

    def _first_pass(self, after: datetime) -> datetime | None:
        """Return the next time that the clock comes to, or has left out, for the first time."""
        wall = self._next(self._shown(after))
        while wall is not None:
            due = self._moment(wall)
            left_out = self._shown(due) != wall
            if due > after and not (left_out and self._follows):
                return due
            wall = self._next(wall)
        return None

    def _second_pass(self, after: datetime) -> datetime | None:
        """Return the next time that the clock comes to again, of those it has shown lately."""
        begin, end = self._shown(after - PUT_BACK), self._shown(after + PUT_BACK)
        wall = self._next(begin) if end - begin < 2 * PUT_BACK else None  # else it isn't put back
        while wall is not None and (first := self._moment(wall)) <= after:
            again = self._moment(wall, fold=1)
            if again > max(first, after):
                return again
            wall = self._next(wall)
        return None

    def _shown(self, moment: datetime) -> datetime:
        """Return what the clock shows, as a time of a clock that never shifts."""
        return moment.astimezone(self.zone).replace(tzinfo=UTC, fold=0)

    def _moment(self, wall: datetime, fold: int = 0) -> datetime:
        return wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)

    def _next(self, wall: datetime) -> datetime | None:
        found = (pattern.get_next_fire_time(None, wall + TICK) for pattern in self._patterns)
        return min((time for time in found if time), default=None)

    def __str__(self) -> str:
        return f"{self.expression} ({self.zone})"


def every(seconds: float, jitter: float = 0.0, last: datetime | None = None) -> IntervalTrigger:
    """Due every `seconds`, counted from the time it was `last` due, in an earlier process maybe."""
    start = last + timedelta(seconds=seconds) if last else None
    return IntervalTrigger(seconds=seconds, jitter=jitter or None, start_date=start, timezone=UTC)


def zone(name: str) -> ZoneInfo:
    """Give a time zone by its name. Raises ValueError."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is no time zone: expected a name of the tz database, such as Europe/Berlin"
        ) from None


def local_zone() -> tzinfo:
    """Give the time zone of this host, with its summer time."""
    zone: tzinfo = CronTrigger(second=0).timezone  # APScheduler knows where a system says it
    return zone


def _is_frequent(expression: str) -> bool:
    """Tell whether an expression is due every hour or more often, while its days last."""
    fields = _fields(expression)
    return fields["minute"].startswith("*") or fields["hour"] in ("*", "*/1")


def _fields(expression: str) -> dict[str, str]:
    values = SHORTHANDS.get(expression, expression).lower().split()
    if len(values) != len(FIELDS):
        raise ValueError(
            f"{expression!r} is no cron expression: expected minute, hour, day, month and weekday, "
            f'such as "0 3 * * *", or one of {", ".join(SHORTHANDS)}'
        )
    return dict(zip(FIELDS, values, strict=True))


def _patterns(expression: str) -> list[CronTrigger]:
    """Give the triggers of which any makes the expression due, on a clock that never shifts."""
    fields = _fields(expression)
    day, weekday = fields["day"], fields["day_of_week"]
    try:
        fields["day_of_week"] = ",".join(_weekdays(weekday))
        if day.startswith("*") or weekday.startswith("*"):
            return [CronTrigger(**fields, timezone=UTC)]
        # cron(8): where both are restricted, either is enough
        either = (fields | {"day_of_week": "*"}, fields | {"day": "*"})
        return [CronTrigger(**fields, timezone=UTC) for fields in either]
    except ValueError as problem:
        raise ValueError(f"{expression!r} is no cron expression: {problem}") from None


def _weekdays(field: str) -> list[str]:
    """Give the days of a weekday field, in which 0 and 7 are Sunday, by name."""
    chosen: set[int] = set()
    for part in field.split(","):
        match = WEEKDAYS.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no weekday: expected 0 to 7, or {', '.join(DAYS)}")
        first, last, step = match.groups()
        low = _weekday(first) if first else 0
        high = _weekday(last) if last else low if first and not step else 6
        if last and high < low:
            high += 7  # fri-mon
        chosen.update(number % 7 for number in range(low, high + 1, int(step or 1)))
    return [DAYS[number] for number in sorted(chosen)]


def _weekday(text: str) -> int:
    if text in DAYS:
        return DAYS.index(text)
    if text.isdecimal() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no weekday: expected 0 to 7, or {', '.join(DAYS)}")
