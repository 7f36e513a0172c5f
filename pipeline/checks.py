"""The data check: rules that find, before any training, what would spoil it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.check_config import CheckConfig
from pipeline.inventory import Inventory
from pipeline.listing import LeftOut
from pipeline.profile import Profile, class_shift, stability_index, take_profile

MOST_EXAMPLES = 12  # named in a finding


@dataclass(frozen=True)
class Finding:
    """What one rule measured."""

    name: str
    severity: str  # "error", "warning" or "off"
    ok: bool
    value: float
    limit: float
    examples: list[str]  # keys, classes or files; pairs as "a = b"; of rules that hold, too
    count: int | None = None  # where the value is a share: of how many examples, ...
    total: int | None = None  # ... and of all

    def measured(self) -> str:
        """Return the value as a person reads it."""
        return f"{self.value:.4g}" if self.total is None else f"{self.count:,} of {self.total:,}"


@dataclass(frozen=True)
class Check:
    """The verdict: sound when no rule of severity error is broken."""

    findings: list[Finding]
    counts: dict[str, dict[str, int]]  # split -> class -> examples
    profile: Profile
    undecodable: LeftOut
    passed_over: LeftOut

    @property
    def ok(self) -> bool:
        return not self.broken("error")

    def broken(self, severity: str) -> list[Finding]:
        """Give the broken rules of one severity."""
        return [f for f in self.findings if f.severity == severity and not f.ok]

    def to_json(self) -> dict[str, Any]:
        """Give the check as plain JSON values."""
        return {
            "ok": self.ok,
            "rules": [asdict(finding) for finding in self.findings],
            "counts": self.counts,
            "profile": self.profile.to_json(),
            "undecodable": self.undecodable,
            "passed_over": self.passed_over,
        }


@dataclass(frozen=True)
class Evidence:
    """All that the rules look at."""

    inventory: Inventory
    class_names: tuple[str, ...]
    shape: tuple[int, ...]  # of the network's input
    undecodable: LeftOut
    previous: Profile | None  # of the last run's data
    passed_over: LeftOut | None = None  # None where the source is no directory

    @property
    def train(self) -> Inventory:
        return self.inventory.where(self.inventory.split == "train")


@dataclass(frozen=True)
class Measured:
    """A value, and what made it so."""

    value: float
    examples: list[str]
    count: int | None = None
    total: int | None = None


def check(evidence: Evidence, config: CheckConfig) -> Check:
    """Apply every rule that is not off and that the data allow to be measured."""
    findings = []
    for name, (measure, lower_is_better) in RULES.items():
        rule = getattr(config, name)
        measured = None if rule.severity == "off" else measure(evidence)
        if measured is not None:
            value = measured.value
            ok = value <= rule.limit if lower_is_better else value >= rule.limit
            shown, counts = measured.examples[:MOST_EXAMPLES], (measured.count, measured.total)
            findings.append(Finding(name, rule.severity, ok, value, rule.limit, shown, *counts))
    profile = take_profile(evidence.inventory, evidence.class_names)
    left_out = evidence.undecodable, evidence.passed_over or []
    return Check(findings, _counts(evidence), profile, *left_out)


def _share(examples: list[str], total: int) -> Measured:
    return Measured(len(examples) / max(total, 1), examples, len(examples), total)


def _undecodable(evidence: Evidence) -> Measured:
    return _left_out(evidence, evidence.undecodable)


def _passed_over(evidence: Evidence) -> Measured | None:
    return None if evidence.passed_over is None else _left_out(evidence, evidence.passed_over)


def _left_out(evidence: Evidence, files: LeftOut) -> Measured:
    named = [f"{file['key']}: {file['reason']}" for file in files]
    return _share(named, len(evidence.inventory.label) + len(files))


def _numbers(evidence: Evidence) -> Measured | None:
    """Find NaN and infinity: in one example they are enough to lose a training."""
    rows = evidence.inventory
    if rows.has_images:
        return None
    wrong = rows.where(rows.flaw != "")
    named = [f"{key}: {flaw}" for key, flaw in zip(wrong.key, wrong.flaw, strict=True)]
    return _share(named, len(rows.key))


def _class_size(evidence: Evidence) -> Measured:
    counts = np.bincount(evidence.train.label, minlength=len(evidence.class_names))
    order = np.argsort(counts, kind="stable")
    examples = [f"{evidence.class_names[i]}: {counts[i]}" for i in order]
    return Measured(float(counts.min()), examples)


def _imbalance(evidence: Evidence) -> Measured:
    counts = np.bincount(evidence.train.label, minlength=len(evidence.class_names))
    ends = (int(counts.argmax()), int(counts.argmin()))
    examples = [f"{evidence.class_names[i]}: {counts[i]}" for i in ends]
    return Measured(float(counts.max() / max(counts.min(), 1)), examples)


def _duplicates(evidence: Evidence) -> Measured:
    return _repeats(evidence.train, evidence.train.content)


def _near_duplicates(evidence: Evidence) -> Measured | None:
    train = evidence.train
    if not train.has_images:
        return None
    _, first = np.unique(train.content, return_index=True)  # equal pixels are another rule's
    once = train.where(np.sort(first))
    return _repeats(once, once.looks)


def _repeats(inventory: Inventory, values: np.ndarray) -> Measured:
    """Give the share of rows whose value stands in an earlier row, and the pairs."""
    seen: dict[Any, str] = {}
    pairs = []
    for key, value in zip(inventory.key.tolist(), values.tolist(), strict=True):
        if value in seen:
            pairs.append(f"{seen[value]} = {key}")
        else:
            seen[value] = key
    return _share(pairs, len(values))


def _leakage(evidence: Evidence) -> Measured:
    trained = dict(zip(evidence.train.content, evidence.train.key, strict=True))
    held_out = evidence.inventory.where(evidence.inventory.split != "train")
    pairs = [
        f"{trained[content]} = {key}"
        for content, key in zip(held_out.content, held_out.key, strict=True)
        if content in trained
    ]
    return _share(pairs, len(held_out.key))


def _conflicts(evidence: Evidence) -> Measured:
    first: dict[str, tuple[int, str]] = {}
    pairs, names = [], evidence.class_names
    rows = evidence.inventory
    for content, label, key in zip(rows.content, rows.label, rows.key, strict=True):
        other, other_key = first.setdefault(content, (label, key))
        if other != label:
            pairs.append(f"{other_key} = {key} ({names[other]}, {names[label]})")
    return _share(pairs, len(rows.key))


def _upscaling(evidence: Evidence) -> Measured | None:
    if not evidence.inventory.has_images:
        return None
    median = float(np.median(evidence.inventory.side))
    return Measured(min(evidence.shape[:2]) / median, [f"median side {median:.0f} pixels"])


def _channels(evidence: Evidence) -> Measured | None:
    if not evidence.inventory.has_images:
        return None
    wrong = evidence.inventory.grey == (evidence.shape[-1] == 3)
    return _share(evidence.inventory.key[wrong].tolist(), len(wrong))


def _class_shift(evidence: Evidence) -> Measured | None:
    if evidence.previous is None:
        return None
    new = take_profile(evidence.inventory, evidence.class_names)
    moved = {
        name: share - evidence.previous.classes.get(name, 0.0)
        for name, share in new.classes.items()
    }
    order = sorted(moved, key=lambda name: -abs(moved[name]))
    examples = [f"{name}: {moved[name]:+.1%}" for name in order]
    return Measured(class_shift(evidence.previous, new), examples)


def _brightness_shift(evidence: Evidence) -> Measured | None:
    if evidence.previous is None or not evidence.previous.brightness:
        return None
    new = take_profile(evidence.inventory, evidence.class_names)
    return Measured(stability_index(evidence.previous.brightness, new.brightness), [])


def _counts(evidence: Evidence) -> dict[str, dict[str, int]]:
    inventory = evidence.inventory
    by_split = {
        split: Counter(inventory.label[inventory.split == split].tolist())
        for split in ("train", "validation", "test")
    }
    return {
        split: {name: counts[i] for i, name in enumerate(evidence.class_names)}
        for split, counts in by_split.items()
    }


Measure = Callable[[Evidence], Measured | None]  # None: these data cannot break the rule
RULES: dict[str, tuple[Measure, bool]] = {  # name in CheckConfig -> (measure, lower is better)
    "undecodable": (_undecodable, True),
    "passed_over": (_passed_over, True),
    "numbers": (_numbers, True),
    "class_size": (_class_size, False),
    "imbalance": (_imbalance, True),
    "duplicates": (_duplicates, True),
    "near_duplicates": (_near_duplicates, True),
    "leakage": (_leakage, True),
    "conflicts": (_conflicts, True),
    "upscaling": (_upscaling, True),
    "channels": (_channels, True),
    "class_shift": (_class_shift, True),
    "brightness_shift": (_brightness_shift, True),
}
