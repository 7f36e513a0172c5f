"""When a schedule is due, held against cron(8) and the clocks of real time zones."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.cron import WallClock, every, zone

BERLIN = ZoneInfo("Europe/Berlin")


def after(clock: WallClock, previous: datetime | None, now: datetime) -> datetime:
    """The next time."""
    found = clock.get_next_fire_time(previous, now)
    assert found
    return found


def due(expression: str, start: str, count: int, where: ZoneInfo = BERLIN) -> list[str]:
    """The next times, as the clock on the wall shows them, with their distance to UTC."""
    clock = WallClock(expression, where)
    found, previous, now = [], None, datetime.fromisoformat(start).replace(tzinfo=where)
    for _ in range(count):
        previous = after(clock, previous, now)
        found.append(previous.isoformat(" ", "minutes"))
    return found


def test_the_first_time_may_be_now():
    assert due("30 3 * * *", "2026-01-05 03:30", 2) == [
        "2026-01-05 03:30+01:00",
        "2026-01-06 03:30+01:00",
    ]


def test_a_night_keeps_its_hour_when_summer_time_begins_and_ends():
    for start in ("2026-03-28 12:00", "2026-10-24 12:00"):
        assert [time[11:16] for time in due("0 3 * * *", start, 3)] == ["03:00"] * 3


def test_a_time_that_the_clock_leaves_out_comes_an_hour_later():
    assert due("30 2 * * *", "2026-03-28 00:00", 3) == [
        "2026-03-28 02:30+01:00",
        "2026-03-29 03:30+02:00",
        "2026-03-30 02:30+02:00",
    ]


def test_times_that_a_leap_of_the_clock_lays_upon_each_other_are_one():
    assert due("*/30 1-3 * * *", "2026-03-29 00:00", 5) == [
        "2026-03-29 01:00+01:00",
        "2026-03-29 01:30+01:00",
        "2026-03-29 03:00+02:00",
        "2026-03-29 03:30+02:00",
        "2026-03-30 01:00+02:00",
    ]


@pytest.mark.parametrize("expression", ["30 2 * * *", "30 1-2 * * *", "30 */2 * * *"])
def test_a_job_of_fixed_hours_runs_in_the_first_pass_of_a_repeated_hour_alone(expression):
    times = due(expression, "2026-10-24 00:00", 30)
    assert [time[8:] for time in times if time[11:16] == "02:30"][:3] == [
        "24 02:30+02:00",
        "25 02:30+02:00",
        "26 02:30+01:00",
    ]
    second_pass = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    following = after(WallClock(expression, BERLIN), None, second_pass)
    assert (following.day, following.hour) != (25, 2)


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("*/30 * * * *", ["02:00+02", "02:30+02", "02:00+01", "02:30+01", "03:00+01", "03:30+01"]),
        ("@hourly", ["02:00+02", "02:00+01", "03:00+01"]),
        ("15 * * * *", ["02:15+02", "02:15+01", "03:15+01"]),
        ("*/30 2 * * *", ["02:00+02", "02:30+02", "02:00+01", "02:30+01"]),
    ],
)
def test_a_job_of_every_hour_or_minute_runs_through_both_passes(expression, times):
    found = due(expression, "2026-10-25 01:59", len(times))
    assert found == [f"2026-10-25 {time}:00" for time in times]


def test_a_job_of_every_minute_is_not_due_at_times_that_the_clock_leaves_out():
    assert due("*/30 2 * * *", "2026-03-28 02:30", 2) == [
        "2026-03-28 02:30+01:00",
        "2026-03-30 02:00+02:00",
    ]


@pytest.mark.parametrize(
    ("where", "day"),
    [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("America/New_York", "2026-11-01"),
        ("Australia/Lord_Howe", "2026-04-05"),  # it is put back by half an hour
        ("America/Scoresbysund", "2026-10-25"),  # just before midnight
    ],
)
def test_whenever_it_starts_the_next_time_is_the_next_that_the_clock_shows(where, day):
    clock, zone_ = WallClock("*/20 * * * *", ZoneInfo(where)), ZoneInfo(where)
    noon = datetime.fromisoformat(f"{day} 12:00").replace(tzinfo=UTC)
    minutes = [noon + timedelta(minutes=number) for number in range(-36 * 60, 18 * 60, 5)]
    shown = [minute for minute in minutes if minute.astimezone(zone_).minute % 20 == 0]
    for now, following in zip(shown, shown[1:], strict=False):
        assert after(clock, None, now).astimezone(UTC) == now
        assert after(clock, now.astimezone(zone_), now).astimezone(UTC) == following


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 0 * * 0", ["04", "11"]),  # the first of January 2026 is a Thursday
        ("0 0 * * 7", ["04", "11"]),
        ("0 0 * * sun", ["04", "11"]),
        ("@weekly", ["04", "11"]),
        ("0 0 * * 1-5", ["01", "02", "05", "06", "07", "08", "09", "12"]),
        ("0 0 * * FRI-MON", ["02", "03", "04", "05", "09"]),
        ("0 0 * * 5-7", ["02", "03", "04", "09"]),
        ("0 0 * * 0-7", ["01", "02", "03"]),
        ("0 0 * * */3", ["03", "04", "07", "10", "11"]),
        ("0 0 * * 2/2", ["01", "03", "06", "08"]),
        ("0 0 1,10 * *", ["01", "10", "01"]),
        ("0 0 3 * 1", ["03", "05", "12"]),  # day or weekday, where both are given
        ("0 0 last * *", ["31", "28"]),
    ],
)
def test_days_are_those_of_cron(expression, days):
    assert [time[8:10] for time in due(expression, "2026-01-01 00:00", len(days))] == days


def test_a_year_of_nights_has_no_gap_and_no_double():
    times = due("0 2 * * *", "2026-01-01 00:00", 365)
    assert len({time[:10] for time in times}) == 365


def test_jitter_comes_after_the_time_and_not_instead_of_it():
    clock = WallClock("0 3 * * *", BERLIN, jitter=600)
    now = datetime(2026, 1, 1, tzinfo=BERLIN)
    delays = {after(clock, None, now) - now - timedelta(hours=3) for _ in range(50)}
    assert len(delays) > 1
    assert timedelta(0) <= min(delays) <= max(delays) <= timedelta(minutes=10)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 3 * *", "expected minute, hour, day, month and weekday"),
        ("@nightly", "or one of @hourly, @daily"),
        ("61 3 * * *", "61"),
        ("0 3 * * 8", "'8' is no weekday: expected 0 to 7, or sun"),
        ("0 3 * * funday", "'funday' is no weekday"),
        ("0 3 * * 1/0", "'0 3 \\* \\* 1/0' is no cron expression"),
    ],
)
def test_what_is_no_expression_is_refused_by_its_part(expression, message):
    with pytest.raises(ValueError, match=message):
        WallClock(expression, BERLIN)


def test_a_day_that_never_comes_is_never_due():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert WallClock("0 0 31 2 *", BERLIN).get_next_fire_time(None, now) is None


def test_an_interval_keeps_its_beat_over_a_restart():
    last = datetime(2026, 1, 1, 12, tzinfo=UTC)
    trigger = every(3600, last=last)
    restarted = last + timedelta(minutes=50)
    assert trigger.get_next_fire_time(None, restarted) == last + timedelta(hours=1)
    much_later = last + timedelta(hours=5, minutes=10)
    assert trigger.get_next_fire_time(None, much_later) == last + timedelta(hours=6)


def test_a_time_zone_has_a_name():
    assert zone("Asia/Kolkata").key == "Asia/Kolkata"
    for wrong in ("Berlin", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="is no time zone"):
            zone(wrong)
