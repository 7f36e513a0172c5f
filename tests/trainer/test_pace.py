from trainer.pace import SECONDS, Pace


def trained(pace: Pace, seconds: float, calls: int) -> list[int]:
    """Take calls whose steps last so long, and give how many steps each had."""
    taken = []
    for _ in range(calls):
        taken.append(pace.steps(most=1000))
        pace.took(taken[-1], taken[-1] * seconds)
    return taken


def test_short_steps_come_in_calls_that_double_until_they_last_long_enough():
    assert trained(Pace(), SECONDS / 10.5, 6) == [1, 2, 4, 8, 10, 10]


def test_long_steps_come_one_by_one():
    assert trained(Pace(), 5 * SECONDS, 3) == [1, 1, 1]


def test_steps_that_become_slower_come_in_shorter_calls():
    pace = Pace()
    trained(pace, SECONDS / 100, 10)
    assert trained(pace, SECONDS / 5, 3)[1:] == [5, 5]


def test_a_call_ends_where_something_is_due():
    pace = Pace()
    trained(pace, SECONDS / 100, 10)
    assert pace.steps(most=7) == 7
    pace.took(7, 7 * SECONDS / 100)
    assert pace.steps(most=1000) > 7


def test_a_clock_that_stands_still_is_borne():
    assert trained(Pace(), 0.0, 4) == [1, 2, 4, 8]


def test_a_fixed_number_stays():
    assert trained(Pace(fixed=3), 5 * SECONDS, 3) == [3, 3, 3]
