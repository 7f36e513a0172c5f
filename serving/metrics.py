"""Counters and histograms in Prometheus' text format (exposition format 0.0.4)."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[str, ...]


class Counter:
    """A number for each set of label values that only rises."""

    kind = "counter"

    def __init__(self, name: str, help: str, labels: Sequence[str]) -> None:
        self.name = name
        self.help = help
        self._labels = tuple(labels)
        self._values: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def add(self, *values: str, amount: float = 1) -> None:
        """Raise the counter of these label values, given in the order of the labels."""
        with self._lock:
            self._values[values] = self._values.get(values, 0) + amount

    def total(self) -> int:
        """The sum over all label values."""
        with self._lock:
            return int(sum(self._values.values()))

    def lines(self) -> Iterator[str]:
        with self._lock:
            found = dict(self._values)
        for values, count in sorted(found.items()):
            labels = braces(dict(zip(self._labels, values, strict=True)))
            yield f"{self.name}{labels} {number(count)}"


class Histogram:
    """How often a value fell into which bucket, for each set of label values."""

    kind = "histogram"

    def __init__(
        self, name: str, help: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self.name = name
        self.help = help
        self._labels = tuple(labels)
        self._bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        self._lock = threading.Lock()

    def observe(self, *values: str, value: float) -> None:
        """Count one value under these label values."""
        with self._lock:
            counts = self._counts.setdefault(values, [0] * (len(self._bounds) + 1))
            counts[bisect_left(self._bounds, value)] += 1
            self._sums[values] = self._sums.get(values, 0.0) + value

    def lines(self) -> Iterator[str]:
        with self._lock:
            found = {values: (list(c), self._sums[values]) for values, c in self._counts.items()}
        for values, (counts, total) in sorted(found.items()):
            yield from self._series(dict(zip(self._labels, values, strict=True)), counts, total)

    def _series(
        self, labels: Mapping[str, str], counts: Sequence[int], total: float
    ) -> Iterator[str]:
        seen = 0
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            seen += count
            yield f"{self.name}_bucket{braces({**labels, 'le': number(bound)})} {seen}"
        yield f"{self.name}_sum{braces(labels)} {number(total)}"
        yield f"{self.name}_count{braces(labels)} {seen}"


def expose(metrics: Iterable[Counter | Histogram]) -> str:
    """The page that Prometheus scrapes."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += metric.lines()
    return "\n".join(lines) + "\n"


def braces(labels: Mapping[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
