"""Whether a trained model may be published, and why."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jobs.live import Live
from jobs.release_config import BlessConfig
from trainer.evaluate import Evaluation, Predictions


@dataclass(frozen=True)
class Rule:
    """One bound and what was measured against it."""

    name: str
    value: float
    limit: float
    ok: bool
    detail: str = ""

    def reason(self) -> str:
        """Say in one line why the rule does not hold."""
        side = "below" if self.value < self.limit else "above"
        return f"{self.name} is {self.value:.4f}, {side} {self.limit:g}" + (
            f" ({self.detail})" if self.detail else ""
        )


@dataclass(frozen=True)
class Blessing:
    """The verdict: blessed when every rule holds."""

    rules: list[Rule]
    live: int | None = None  # the version that it was compared with

    @classmethod
    def of_json(cls, tree: dict[str, Any]) -> "Blessing":
        """Read what `to_json` gave."""
        return cls([Rule(**rule) for rule in tree["rules"]], tree.get("live"))

    @property
    def blessed(self) -> bool:
        return all(rule.ok for rule in self.rules)

    def reasons(self) -> list[str]:
        """Give one line for each rule that does not hold."""
        return [rule.reason() for rule in self.rules if not rule.ok]

    def to_json(self) -> dict[str, Any]:
        """Give the verdict with its numbers."""
        return {
            "blessed": self.blessed,
            "live": self.live,
            "rules": [asdict(rule) for rule in self.rules],
            "reasons": self.reasons(),
        }


@dataclass(frozen=True)
class Export:
    """What a SavedModel weighs on whoever serves it; None where it was not measured."""

    latency_ms: float | None = None  # of one image, at the median
    size_mb: float | None = None


def floors(evaluation: Evaluation, export: Export, config: BlessConfig) -> list[Rule]:
    """Hold the scores on the test split, and the export, against the limits that the job sets."""
    worst = min((s for s in evaluation.per_class if s.support), key=lambda score: score.recall)
    rules = []
    if config.min_accuracy:
        rules.append(_at_least("accuracy", evaluation.accuracy, config.min_accuracy))
    if lowest := config.min_class_recall:
        rules.append(_at_least("class_recall", worst.recall, lowest, f"class {worst.label!r}"))
    error = config.max_calibration_error
    if error is not None:
        rules.append(_at_most("calibration_error", evaluation.calibration.error, error))
    return rules + ceilings(export, config)


def ceilings(export: Export, config: BlessConfig) -> list[Rule]:
    """Hold what was measured of the export against the job's limits."""
    found = (
        ("latency_ms", export.latency_ms, config.max_latency_ms),
        ("size_mb", export.size_mb, config.max_size_mb),
    )
    return [
        _at_most(name, value, limit)
        for name, value, limit in found
        if limit is not None and value is not None
    ]


def changes(
    predictions: Predictions, class_names: tuple[str, ...], live: Live, config: BlessConfig
) -> list[Rule]:
    """Hold the answers against those of the live model, example by example.

    Only examples of classes that both know count, and none that the live model was trained on; a
    class that only the live one knows is a rule of its own.
    """
    names = np.array(class_names)
    truth, guesses = names[predictions.labels], names[predictions.probabilities.argmax(axis=1)]
    known = np.isin(truth, live.class_names)
    if live.seen is not None:
        known &= ~live.seen
    hits, before = (guesses == truth)[known], (live.guesses == truth)[known]
    lost = lost_classes(class_names, live.class_names, live.version, config)
    if not known.any() and live.caveat:
        return [lost, incomparable(f"nothing is left to compare on: {live.caveat}")]
    return [
        lost,
        _mcnemar(hits, before, live, config),
        _largest_fall(truth[known], hits, before, config.max_class_fall),
    ]


def incomparable(reason: str) -> Rule:
    """Give the broken rule of a live model that cannot be asked."""
    return Rule("comparable", 0.0, 1.0, False, reason)


def mcnemar(only_before: int, only_now: int) -> float:
    """Give the exact one-sided p-value of McNemar's test (1947) against a loss.

    It is the chance that at least `only_before` of the examples which one model alone gets right
    are the old model's, were both equally good; float 0..1.
    """
    total = only_before + only_now
    return min(1.0, math.fsum(_binomial(total, k) for k in range(only_before, total + 1)))


def _binomial(total: int, k: int) -> float:
    log_ways = math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
    return math.exp(log_ways - total * math.log(2))


def lost_classes(
    class_names: Sequence[str], before: Sequence[str], version: int, config: BlessConfig
) -> Rule:
    """Hold the number of classes that only the live `version` knows against its limit."""
    lost = [name for name in before if name not in class_names]
    detail = f"version {version} knows {', '.join(lost[:5])}" if lost else ""
    return _at_most("lost_classes", len(lost), config.max_lost_classes, detail)


def _mcnemar(hits: np.ndarray, before: np.ndarray, live: Live, config: BlessConfig) -> Rule:
    only_before, only_now = int((before & ~hits).sum()), int((hits & ~before).sum())
    detail = (
        f"of {len(hits)} test examples {only_before} only version {live.version} gets right, "
        f"{only_now} only this model"
    ) + (f"; {live.caveat}" if live.caveat else "")
    return _at_least("mcnemar_p", mcnemar(only_before, only_now), config.significance, detail)


def _largest_fall(truth: np.ndarray, hits: np.ndarray, before: np.ndarray, limit: float) -> Rule:
    falls = list(_falls(truth, hits, before))
    fall, detail = max(falls, default=(0.0, ""))
    return _at_most("class_fall", fall, limit, detail)


def _falls(truth: np.ndarray, hits: np.ndarray, before: np.ndarray) -> Iterator[tuple[float, str]]:
    for name in np.unique(truth):
        then, now = before[truth == name].mean(), hits[truth == name].mean()
        yield float(then - now), f"class {str(name)!r}: {then:.3f} then, {now:.3f} now"


def _at_least(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, limit, value >= limit, detail)


def _at_most(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, limit, value <= limit, detail)
