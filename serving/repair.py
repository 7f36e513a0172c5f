"""A store brought back to where all its servers follow it again.

A server that missed the write which adds a version refuses the one that moves a label there, at
every poll, and with it whatever is written later, for all models. So the first write is made again:
labels where they were before they last moved, both versions served. Where that does not help, the
server missed more, and what it always takes is a configuration without labels.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from serving import catalog, history
from serving.ledger import Ledger

Wanted = Mapping[str, Collection[int]]  # the versions of each model that servers should have
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lack:
    """A version that a server does not serve, and why."""

    server: str
    model: str
    version: int
    reason: str
    reached: bool = True  # False: it did not answer at all
    heard: bool = False  # it knows of the version, so it took the file, and cannot load it

    def __str__(self) -> str:
        return f"{self.server} does not serve {self.model} version {self.version}: {self.reason}"


class Servers(Protocol):
    """Who can say whether servers have what they should; `addresses` is empty if nobody can."""

    @property
    def addresses(self) -> Sequence[str]: ...

    def ask(self, wanted: Wanted) -> list[Lack]:
        """Return what the servers lack now."""

    def wait(self, wanted: Wanted) -> list[Lack]:
        """Give servers time to load, and return what they lack then."""


@dataclass
class Repaired:
    """What a repair did, and what it could not do."""

    rebuilt: bool = False  # models.config was lost
    removed: list[str] = field(default_factory=list)  # models whose directory is gone
    moved: dict[str, dict[str, int]] = field(default_factory=dict)  # labels that were waiting
    lacks: list[Lack] = field(default_factory=list)


def repair(ledger: Ledger, servers: Servers, unlabel: bool = False) -> Repaired:
    """Take all servers of a store to what it says, and finish what was interrupted.

    `unlabel` makes the first write without labels at once: every server takes that, and refuses
    requests by label until the second. Raises StoreError when models.config cannot be parsed.
    """
    done = Repaired()
    with ledger.lock():
        if catalog.is_lost(ledger.root):
            _rebuild(ledger)
            done.rebuilt = True
        done.removed = _remove_missing(ledger)
        before, asked = _labels(ledger), {name: ledger.pending(name) for name in ledger.models()}
    wanted = {name: {*before[name].values(), *asked[name].values()} for name in before}
    waiting = done.rebuilt or any(asked.values())
    if servers.addresses and not waiting and not unlabel and not servers.ask(wanted):
        with ledger.lock():
            _confirm(ledger, before, servers.addresses)
        return done
    _write_first(ledger, before, before if unlabel else ())
    done.lacks = servers.wait(wanted)
    if not unlabel and any(lack.reached and not lack.heard for lack in done.lacks):
        # They refuse the file, for labels of models of which they lack a version.
        stuck = {lack.model for lack in done.lacks if lack.reached}
        log.warning("no labels for %s until servers took the file", ", ".join(sorted(stuck)))
        _write_first(ledger, before, stuck)
        done.lacks = servers.wait(wanted)
    done.moved = _write_second(ledger, before, wanted, done.lacks, servers.addresses)
    return done


def _rebuild(ledger: Ledger) -> None:
    """Write models.config anew, as the histories end, in one write."""
    config = catalog.empty()
    for name in ledger.models():
        present, labels = ledger.versions(name), ledger.state(name).labels
        ledger.enter(config, name, {k: v for k, v in labels.items() if v in present})
    ledger.write(config)
    log.warning("rebuilt %s from the histories", ledger.root / catalog.CONFIG)


def _remove_missing(ledger: Ledger) -> list[str]:
    """Take models out of models.config whose directory in the store is gone."""
    config = catalog.read(ledger.root)
    gone = list(ledger.missing())
    for name in gone:
        catalog.assign(config, name, (), {})
        log.warning("took %s out of models.config: %s is gone", name, ledger.root / name)
    if gone:
        ledger.write(config)
    return gone


def _labels(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Labels of each model, without those of versions that are gone."""
    found = {}
    for name in ledger.models():
        present = ledger.versions(name)
        found[name] = {k: v for k, v in ledger.labels(name).items() if v in present}
    return found


def _write_first(
    ledger: Ledger, before: Mapping[str, Mapping[str, int]], without: Collection[str]
) -> None:
    """Serve everything, with labels where they were before, or `without` any; all in one write."""
    with ledger.lock():
        config = catalog.read(ledger.root)
        for name, labels in before.items():
            asked = ledger.pending(name)
            first = {} if name in without else _earlier(ledger, name, labels, asked)
            for label, version in labels.items():
                # A repair that is killed here is finished by the next one, or by a publish.
                if first.get(label) != version and label not in asked:
                    facts = {"version": version, "label": label, "pending": True}
                    ledger.append(name, "repair", **facts)
            ledger.enter(config, name, first, kept=labels.values())
        ledger.write(config)


def _earlier(
    ledger: Ledger, name: str, labels: Mapping[str, int], asked: Collection[str]
) -> dict[str, int]:
    """Labels as they were before each last moved.

    For stable that is the version to roll back to, which is served. What another label was on is
    not, so a server that has followed would refuse it there: such a label is left out.
    """
    events = ledger.events(name)
    still = {label for label in labels if label in asked}
    still |= {label for label in labels if len(history.labelled(events, label)) < 2}
    earlier = {label: labels[label] for label in still}
    target = ledger.rollback_target(name, labels.get(history.STABLE))
    if history.STABLE not in still and history.STABLE in labels:
        earlier[history.STABLE] = target or labels[history.STABLE]
    return earlier


def _write_second(
    ledger: Ledger,
    before: Mapping[str, Mapping[str, int]],
    wanted: Wanted,
    lacks: Sequence[Lack],
    servers: Sequence[str],
) -> dict[str, dict[str, int]]:
    """Put labels back where they were, and move those that were waiting, unless servers lack that.

    What somebody else has moved or asked for in the meantime is left to them.
    """
    held = {(lack.model, lack.version) for lack in lacks if lack.reached}
    moved = {}
    with ledger.lock():
        config = catalog.read(ledger.root)
        for name, labels in before.items():
            now, asked = ledger.labels(name), ledger.pending(name)
            due = {k: v for k, v in asked.items() if v in wanted[name] and (name, v) not in held}
            back = {k: v for k, v in labels.items() if asked.get(k) == v or k not in now}
            ledger.enter(config, name, now | {k: back[k] for k in back if k in asked} | due)
            moved[name] = {k: v for k, v in due.items() if labels.get(k) != v}
        ledger.write(config)
        for name in before:
            ledger.record_settled(name, () if lacks else servers)
    return {name: labels for name, labels in moved.items() if labels}


def _confirm(
    ledger: Ledger, labels: Mapping[str, Mapping[str, int]], servers: Sequence[str]
) -> None:
    """Put on record that servers have what is labelled, where no server ever said so."""
    for name in labels:
        for version in sorted(set(labels[name].values()) - ledger.state(name).confirmed):
            ledger.append(name, "confirm", version=version, servers=list(servers))
