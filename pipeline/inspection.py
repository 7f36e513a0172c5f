"""The data check of a job's source: read it through, apply the rules, and show what broke them."""

import logging
from dataclasses import dataclass

import numpy as np

from pipeline.check_config import CheckConfig
from pipeline.checks import Check, Evidence, Finding, check
from pipeline.dataset import SourceData
from pipeline.inventory import pictures, take_inventory
from pipeline.profile import Profile

MOST_PICTURES = 24
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inspection:
    """The verdict, and pictures of what broke a rule as (caption, uint8 [H, W, C])."""

    check: Check
    pictures: list[tuple[str, np.ndarray]]


def inspect(source: SourceData, config: CheckConfig, previous: Profile | None = None) -> Inspection:
    """Read a source through and hold it against the rules and the last run's profile."""
    slices, info = source.slices, source.info
    inventory = take_inventory(slices, info.shape)
    quarantine = [f"{entry['key']}: {entry['reason']}" for entry in source.quarantine]
    evidence = Evidence(inventory, info.class_names, info.shape, quarantine, previous)
    result = check(evidence, config)
    for finding in result.broken("error") + result.broken("warning"):
        log.log(logging.ERROR if finding.severity == "error" else logging.WARNING, explain(finding))
    named = [(f.name, key) for f in result.findings for pair in f.examples for key in _keys(pair)]
    wanted = {key for _, key in named[:MOST_PICTURES]} & set(inventory.key.tolist())
    images = pictures(slices, info.shape, wanted) if wanted and info.is_image else {}
    shown = [(f"{name}\n{key}", images[key]) for name, key in named if key in images]
    return Inspection(result, shown[:MOST_PICTURES])


def explain(finding: Finding) -> str:
    """Give one line about a broken rule: value, limit and the first examples."""
    examples = "; ".join(finding.examples[:3])
    return f"data check {finding.name}: {finding.value:.4g}, the limit is {finding.limit:.4g}" + (
        f" ({examples})" if examples else ""
    )


def _keys(example: str) -> list[str]:
    """Split "a = b (label, label)" into its keys."""
    return [part.rpartition(" (")[0] or part for part in example.split(" = ")]
