"""Whether a trained model may be published, and why."""

from dataclasses import asdict, dataclass
from typing import Any

from jobs.config import BlessConfig
from trainer.evaluate import Evaluation


@dataclass(frozen=True)
class Rule:
    """One bound and what was measured against it."""

    name: str
    value: float
    limit: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True)
class Blessing:
    """The verdict: blessed when every rule holds."""

    rules: list[Rule]

    @property
    def blessed(self) -> bool:
        return all(rule.ok for rule in self.rules)

    def reasons(self) -> list[str]:
        """Give one line for each rule that does not hold."""
        broken = [rule for rule in self.rules if not rule.ok]
        return [
            f"{rule.name} is {rule.value:.4f}, below {rule.limit:.4f}{rule.detail}"
            for rule in broken
        ]

    def to_json(self) -> dict[str, Any]:
        """Give the verdict with its numbers."""
        return {"blessed": self.blessed, "rules": [asdict(rule) for rule in self.rules]}


def bless(evaluation: Evaluation, config: BlessConfig) -> Blessing:
    """Hold an evaluation on the test split against the job's floors."""
    worst = min((s for s in evaluation.per_class if s.support), key=lambda score: score.recall)
    return Blessing(
        [
            _floor("accuracy", evaluation.accuracy, config.min_accuracy),
            _floor(
                "class_recall", worst.recall, config.min_class_recall, f" (class {worst.label!r})"
            ),
        ]
    )


def _floor(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, limit, value >= limit, detail)
