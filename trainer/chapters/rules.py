"""Rules and what was measured against them: of the data check and of the blessing."""

from collections.abc import Mapping, Sequence
from typing import Any

from trainer import page
from trainer.page import Section, Shot
from trainer.summary import RunSummary

HEAD = ("rule", "verdict", "value", "limit")
MOST_EXAMPLES = 3


def blessing(rules: Sequence[Mapping[str, Any]]) -> Section:
    """Give what the model had to prove before it could be published."""
    rows = [
        [
            page.noted(_words(rule["name"]), str(rule.get("detail") or "").strip()),
            page.marked("held", "good") if rule["ok"] else page.marked("broken", "bad"),
            page.cell(_number(rule.get("value"))),
            page.cell(_number(rule.get("limit"))),
        ]
        for rule in rules
    ]
    return Section("Blessing", page.rich_table(HEAD, rows), _verdict(rules))


def data_check(summary: RunSummary) -> Section:
    """Give the findings of the data check, and pictures of what broke a rule."""
    rows = [
        [
            page.noted(_words(rule["name"]), "; ".join(rule["examples"][:MOST_EXAMPLES])),
            page.marked("ok", "good") if rule["ok"] else _severity(rule["severity"]),
            page.cell(_number(rule["value"])),
            page.cell(_number(rule["limit"])),
        ]
        for rule in summary.rules
    ]
    shots = [Shot(image, *caption.partition("\n")[::2]) for caption, image in summary.offenders]
    pictures = page.gallery(shots) if shots else ""
    return Section("Data check", page.rich_table(HEAD, rows) + pictures)


def _verdict(rules: Sequence[Mapping[str, Any]]) -> str:
    broken = sum(not rule["ok"] for rule in rules)
    if not broken:
        return f"All {len(rules)} rules hold."
    return f"{broken} of {len(rules)} rules broken: nothing was published."


def _severity(name: str) -> str:
    return page.marked(name, "bad" if name == "error" else "fair")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value or "")
