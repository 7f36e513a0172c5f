"""What stands between a blessed export and a new version; without tfx."""

from functools import partial
from pathlib import Path

from jobs import golden, rehearsal
from jobs.bless import Rule, ceilings, lost_classes
from jobs.release import GOLDEN, Release
from pipeline import labels
from serving.manifest import MANIFEST

LABELS = "assets.extra/labels.txt"


def obstacles(release: Release) -> list[str]:
    """Give one line for each limit of `[bless]` that the export in the run exceeds.

    These are the limits that the Evaluator cannot measure.
    """
    run, bless = release.run, release.job.bless
    samples = partial(golden.load, run / GOLDEN)
    measured = rehearsal.measure(run / "export", bless, samples, run / "rehearsal")
    rules = [*ceilings(measured, bless), *_lost_classes(release)]
    return [rule.reason() for rule in rules if not rule.ok]


def version_of(release: Release) -> int | None:
    """Give the served version that has the very files of the export, if any."""
    name, store = release.job.name, release.store
    wanted = (release.run / "export" / MANIFEST).read_bytes()
    there = set(store.served(name)) & set(store.versions(name))
    same = [v for v in there if (store.path(name, v) / MANIFEST).read_bytes() == wanted]
    return max(same, default=None)


def _lost_classes(release: Release) -> list[Rule]:
    name, store = release.job.name, release.store
    live = store.live(name)
    if live is None or not release.job.bless.compare:
        return []
    before = _labels(store.path(name, live))
    return [lost_classes(_labels(release.run / "export"), before, live, release.job.bless)]


def _labels(export: Path) -> tuple[str, ...]:
    path = export / LABELS
    return labels.of_text(path.read_text(encoding="utf-8")) if path.is_file() else ()
