"""The data check: rules that find, before any training, what would spoil it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.check_config import CheckConfig
from pipeline.inventory import Inventory
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
    examples: list[str]  # keys, classes or files; pairs as "a = b"


@dataclass(frozen=True)
class Check:
    """The verdict: sound when no rule of severity error is broken."""

    findings: list[Finding]
    counts: dict[str, dict[str, int]]  # split -> class -> examples
    profile: Profile

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
        }


@dataclass(frozen=True)
class Evidence:
    """All that the rules look at."""

    inventory: Inventory
    class_names: tuple[str, ...]
    shape: tuple[int, ...]  # of the network's input
    quarantine: list[str]  # keys of files that do not decode
    previous: Profile | None  # of the last run's data

    @property
    def train(self) -> Inventory:
        return self.inventory.where(self.inventory.split == "train")


Measured = tuple[float, list[str]]  # value, examples


def check(evidence: Evidence, config: CheckConfig) -> Check:
    """Apply every rule that is not off and that the data allow to be measured."""
    findings = []
    for name, (measure, lower_is_better) in RULES.items():
        rule = getattr(config, name)
        measured = None if rule.severity == "off" else measure(evidence)
        if measured is not None:
            value, examples = measured
            ok = value <= rule.limit if lower_is_better else value >= rule.limit
            shown = [] if ok else examples[:MOST_EXAMPLES]
            findings.append(Finding(name, rule.severity, ok, value, rule.limit, shown))
    profile = take_profile(evidence.inventory, evidence.class_names)
    return Check(findings, _counts(evidence), profile)


def _undecodable(evidence: Evidence) -> Measured:
    total = len(evidence.inventory.label) + len(evidence.quarantine)
    return len(evidence.quarantine) / total, evidence.quarantine


def _class_size(evidence: Evidence) -> Measured:
    counts = np.bincount(evidence.train.label, minlength=len(evidence.class_names))
    order = np.argsort(counts, kind="stable")
    return float(counts.min()), [f"{evidence.class_names[i]}: {counts[i]}" for i in order]


def _imbalance(evidence: Evidence) -> Measured:
    counts = np.bincount(evidence.train.label, minlength=len(evidence.class_names))
    ends = (int(counts.argmax()), int(counts.argmin()))
    examples = [f"{evidence.class_names[i]}: {counts[i]}" for i in ends]
    return float(counts.max() / max(counts.min(), 1)), examples


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
    return len(pairs) / len(values), pairs


def _leakage(evidence: Evidence) -> Measured:
    trained = dict(zip(evidence.train.content, evidence.train.key, strict=True))
    held_out = evidence.inventory.where(evidence.inventory.split != "train")
    pairs = [
        f"{trained[content]} = {key}"
        for content, key in zip(held_out.content, held_out.key, strict=True)
        if content in trained
    ]
    return len(pairs) / max(len(held_out.key), 1), pairs


def _conflicts(evidence: Evidence) -> Measured:
    first: dict[str, tuple[int, str]] = {}
    pairs, names = [], evidence.class_names
    rows = evidence.inventory
    for content, label, key in zip(rows.content, rows.label, rows.key, strict=True):
        other, other_key = first.setdefault(content, (label, key))
        if other != label:
            pairs.append(f"{other_key} = {key} ({names[other]}, {names[label]})")
    return len(pairs) / len(rows.key), pairs


def _upscaling(evidence: Evidence) -> Measured | None:
    if not evidence.inventory.has_images:
        return None
    median = float(np.median(evidence.inventory.side))
    return min(evidence.shape[:2]) / median, [f"median side {median:.0f} pixels"]


def _channels(evidence: Evidence) -> Measured | None:
    if not evidence.inventory.has_images:
        return None
    grey = float(evidence.inventory.grey.mean())
    wrong = evidence.inventory.grey == (evidence.shape[-1] == 3)
    keys = evidence.inventory.key[wrong].tolist()
    return (grey if evidence.shape[-1] == 3 else 1 - grey), keys


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
    return class_shift(evidence.previous, new), examples


def _brightness_shift(evidence: Evidence) -> Measured | None:
    if evidence.previous is None or not evidence.previous.brightness:
        return None
    new = take_profile(evidence.inventory, evidence.class_names)
    return stability_index(evidence.previous.brightness, new.brightness), []


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
