"""What stands between a blessed export and a new version; without tfx."""

from pathlib import Path

from jobs import golden, rehearsal
from jobs.bless import Rule
from jobs.release import GOLDEN, Release
from serving.manifest import MANIFEST

LABELS = "assets.extra/labels.txt"


def obstacles(release: Release) -> list[str]:
    """Give one line for each limit of `[bless]` that the export in the run exceeds.

    These are the limits that the Evaluator cannot measure.
    """
    rules = [*_size(release), *_latency(release), *_lost_classes(release)]
    return [rule.reason() for rule in rules if not rule.ok]


def version_of(release: Release) -> int | None:
    """Give the served version that has the very files of the export, if any."""
    name, store = release.job.name, release.store
    wanted = (release.run / "export" / MANIFEST).read_bytes()
    there = set(store.served(name)) & set(store.versions(name))
    same = [v for v in there if (store.path(name, v) / MANIFEST).read_bytes() == wanted]
    return max(same, default=None)


def _size(release: Release) -> list[Rule]:
    limit = release.job.bless.max_size_mb
    if limit is None:
        return []
    return [_at_most("size_mb", rehearsal.size_mb(release.run / "export"), limit)]


def _latency(release: Release) -> list[Rule]:
    limit, run = release.job.bless.max_latency_ms, release.run
    if limit is None:
        return []
    samples = golden.load(run / GOLDEN)
    found = rehearsal.latency_ms(run / "export", samples, run / "rehearsal")
    return [_at_most("latency_ms", found, limit)]


def _lost_classes(release: Release) -> list[Rule]:
    name, store = release.job.name, release.store
    live = store.live(name)
    if live is None or not release.job.bless.compare:
        return []
    known = _labels(release.run / "export")
    lost = [label for label in _labels(store.path(name, live)) if label not in known]
    detail = f"version {live} knows {', '.join(lost[:5])}" if lost else ""
    return [_at_most("lost_classes", len(lost), release.job.bless.max_lost_classes, detail)]


def _labels(export: Path) -> list[str]:
    path = export / LABELS
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _at_most(name: str, value: float, limit: float, detail: str = "") -> Rule:
    return Rule(name, value, limit, value <= limit, detail)
