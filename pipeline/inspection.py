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
NAMED = 3  # examples in a line
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
    left_out = source.quarantine, previous, source.passed_over
    evidence = Evidence(inventory, info.class_names, info.shape, *left_out)
    result = check(evidence, config)
    for finding in result.broken("error") + result.broken("warning"):
        log.log(logging.ERROR if finding.severity == "error" else logging.WARNING, explain(finding))
    broken = [finding for finding in result.findings if not finding.ok]
    named = [(f.name, key) for f in broken for pair in f.examples for key in _keys(pair)]
    wanted = {key for _, key in named[:MOST_PICTURES]} & set(inventory.key.tolist())
    images = pictures(slices, info.shape, wanted) if wanted and info.is_image else {}
    shown = [(f"{name}\n{key}", images[key]) for name, key in named if key in images]
    return Inspection(result, shown[:MOST_PICTURES])


def explain(finding: Finding) -> str:
    """Give one line about a broken rule: what was found, the limit and the first examples."""
    share = "" if finding.total is None else f" = {finding.value:.4g}"
    found = f"{finding.measured()}{share}, the limit is {finding.limit:.4g}"
    named = f" ({examples(finding)})" if finding.examples else ""
    return f"data check {finding.name}: {found}{named}"


def examples(finding: Finding) -> str:
    """Give the first examples of a finding, and whether there are more."""
    more = "; ..." if len(finding.examples) > NAMED or (finding.count or 0) > NAMED else ""
    return "; ".join(finding.examples[:NAMED]) + more


def refusal(check: Check) -> str:
    """Give one line about all that the data are refused for, which ends with the way out."""
    broken = check.broken("error")
    accept = " ".join(f"--set data.check.{finding.name}.severity=warning" for finding in broken)
    return (
        f"{'; '.join(map(explain, broken))}. Mend the data (data check --json names more), or take "
        f"them as they are: {accept}"
    )


def _keys(example: str) -> list[str]:
    """Split "a = b (label, label)" into its keys."""
    return [part.rpartition(" (")[0] or part for part in example.split(" = ")]
