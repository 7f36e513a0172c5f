"""Rivals that take turns in one process, so that a busy machine is busy for all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Turn(NamedTuple):
    """What one rival did in one round."""

    rate: float  # images, or what else is counted, per second
    milliseconds: float  # of processor time, all threads together, for one of them


Rounds = list[dict[str, Turn]]


def timed(work: Callable[[], int]) -> Turn:
    """Do the work, which tells how many images it did."""
    started, busy = time.perf_counter(), time.process_time()
    images = work()
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return Turn(images / seconds, 1000 * busy / images)


def take_turns(rivals: Mapping[str, Callable[[], Turn]], rounds: int) -> Rounds:
    """Let every rival have its turn in each round, in alternating order."""
    names = list(rivals)
    orders = [names if number % 2 == 0 else names[::-1] for number in range(rounds)]
    return [{name: rivals[name]() for name in order} for order in orders]


def ratio(rounds: Rounds, one: str, other: str) -> float:
    """The median over the rounds of the ratio of two rates within a round."""
    return statistics.median(turn[one].rate / turn[other].rate for turn in rounds)
