"""Where the time of a test session went: its slowest tests, and those that take too much of it.

A message, not a failure: a busy machine is no fault of a test.
"""

from collections import Counter

import pytest

SHOWN = 10
LIMIT = 20.0  # seconds of one test, its share of what it shares included


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the ten slowest tests, with their fixtures, and name those beyond the limit."""
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] += report.duration  # type: ignore[assignment]
    if not seconds:
        return
    terminalreporter.section(f"{SHOWN} slowest tests, seconds with their fixtures")
    for name, taken in seconds.most_common(SHOWN):
        terminalreporter.write_line(f"{taken:7.1f}  {name}")
    if late := [name for name, taken in seconds.items() if taken > LIMIT]:
        terminalreporter.write_line(
            f"{len(late)} of {len(seconds)} took more than {LIMIT:.0f} s: share what they make, "
            "make it smaller, or mark them slow"
        )
