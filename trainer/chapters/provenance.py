"""Where a model comes from, so that it can be made again."""

from collections.abc import Mapping
from typing import Any

from pipeline.dataset import DataInfo
from trainer import page
from trainer.page import Section
from trainer.summary import RunSummary


def data(info: DataInfo) -> Section:
    """Give the source, its sizes and its digest."""
    kind = "image" if info.is_image else "vector"
    rows = [
        ("source", info.source),
        ("one example", f"{kind} of {'×'.join(map(str, info.shape))}"),
        ("classes", f"{info.num_classes:,}"),
    ]
    rows += [
        (f"{split} examples", f"{info.counts[split]:,}")
        for split in ("train", "validation", "test")
        if split in info.counts
    ]
    return Section("Data", page.facts([*rows, ("digest", info.digest)]))


def provenance(summary: RunSummary) -> Section:
    """Give run, seeds, versions, revision, machine and the resolved job file."""
    card = summary.card
    rows = [
        ("run", _text(card.get("run"))),
        ("parent version", _text(card.get("parent_version"))),
        ("git revision", _text(card.get("git_revision"))),
        ("seeds", _pairs(card.get("seeds"))),
        ("versions", _pairs(card.get("versions"))),
        ("machine", _pairs(card.get("machine"))),
    ]
    known = page.facts([row for row in rows if row[1]])
    config = page.folded("Job file, fully resolved", page.code(summary.config))
    return Section("Provenance", known + (config if summary.config else ""))


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _text(value: Any) -> str:
    return "" if value is None else str(value)
