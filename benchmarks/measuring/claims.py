"""Claims: a figure, its limit, and whether it keeps to it."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A figure that should be at least, or at most, its limit."""

    name: str
    value: float
    limit: float
    at_most: bool

    @property
    def ok(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def to_json(self) -> dict[str, Any]:
        """Give the claim as plain JSON values, the figure rounded."""
        value = round(self.value, 4)
        return {"name": self.name, "value": value, "limit": self.limit, "ok": self.ok}


def at_least(name: str, value: float, limit: float) -> Claim:
    return Claim(name, value, limit, at_most=False)


def at_most(name: str, value: float, limit: float) -> Claim:
    return Claim(name, value, limit, at_most=True)


def report(claims: Sequence[Claim]) -> None:
    """Print a line for each claim, and then all of them and the machine as one line of JSON."""
    for claim in claims:
        verdict = "ok" if claim.ok else "MISSED"
        limit = f"at {'most' if claim.at_most else 'least'} {claim.limit:g}"
        print(f"{verdict:7}{claim.name}: {claim.value:.4g} ({limit})")
    machine = {"processor": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
    print(json.dumps({"claims": [claim.to_json() for claim in claims], "machine": machine}))
