"""`convoy models show` and `convoy models diff`: where versions come from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import console, options
from jobs.exits import CommandError

if TYPE_CHECKING:
    from jobs.lineage import Change
    from serving.store import Store

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
Version = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="Without it, the live version.")
]
Before = Annotated[int, typer.Argument(metavar="V1", help="A version.")]
After = Annotated[int, typer.Argument(metavar="V2", help="Another one.")]
STORE = Path("models")
WIDTH = 60  # characters of a value in a table


def show(
    name: Name,
    version: Version = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Show where a version comes from: settings, data, code, machine, scores, verdict."""
    from serving.errors import ServingError
    from serving.store import Store

    found = Store(store)
    try:
        chosen = version or found.live(name)
        if chosen is None:
            raise CommandError(f"{name} has no live version in {store}: name one")
        described = _describe(found, name, chosen)
    except ServingError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json(described)
    else:
        _print(described)


def diff(
    name: Name,
    before: Before,
    after: After,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Show in what two versions differ: settings, data, code, library versions, scores."""
    from jobs import lineage
    from serving.errors import ServingError
    from serving.store import Store

    found = Store(store)
    try:
        for version in (before, after):
            found.path(name, version)  # a version without a card is one thing, a missing one other
        changes = lineage.diff(found.card(name, before), found.card(name, after))
    except ServingError as problem:
        raise CommandError(str(problem)) from None
    if json:
        listed = [change.to_json() for change in changes]
        console.print_json({"name": name, "versions": [before, after], "changes": listed})
    elif changes:
        rows = [_row(change) for change in changes]
        console.print_table(name, ["", "what", str(before), str(after), "by"], rows)
    else:
        console.stdout.print(f"{name}: the cards of {before} and {after} say the same")


def _describe(store: "Store", name: str, version: int) -> dict[str, Any]:
    """Give what store and card know of a version. Raises StoreError."""
    from serving.manifest import SIGNATURE

    path = store.path(name, version)
    events = [event for event in store.history(name) if event.get("version") == version]
    return {
        "name": name,
        "version": version,
        "live": store.live(name) == version,
        "labels": [label for label, number in store.labels(name).items() if number == version],
        "intact": _intact(store, name, version),
        "signed": (path / SIGNATURE).is_file(),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        "history": events,
        "card": store.card(name, version),
    }


def _intact(store: "Store", name: str, version: int) -> bool:
    """Tell whether the version's files are those of its manifest."""
    from serving.errors import StoreError

    try:
        store.verify(name, version)
    except StoreError:
        return False
    return True


def _print(described: dict[str, Any]) -> None:
    card = described["card"]
    times = [event["time"] for event in described["history"] if event["event"] == "publish"]
    rows = [
        ["labels", ", ".join(described["labels"]) or "none"],
        ["published", times[0][:19] + " UTC" if times else "unknown"],
        ["size", f"{described['bytes'] / 2**20:.1f} MiB"],
        ["files", "as in the manifest" if described["intact"] else "CHANGED since the export"],
        ["signed", "yes: convoy models verify tells by whom" if described["signed"] else "no"],
        *([key, _short(value)] for key, value in _summary(card).items()),
    ]
    console.print_table(f"{described['name']} version {described['version']}", ["", ""], rows)
    if card.get("config"):
        settings = [[key, _short(value)] for key, value in _leaves(card["config"], "")]
        console.print_table("settings", ["key", "value"], settings)


def _summary(card: dict[str, Any]) -> dict[str, Any]:
    """Give what stands in the table of a card, where the card has it."""
    data, metrics, machine = (card.get(key) or {} for key in ("data", "metrics", "machine"))
    dirty = " with changes" if card.get("git_dirty") else ""
    blessing = card.get("blessing") or {}
    facts = {
        "run": card.get("run"),
        "parent version": card.get("parent_version"),
        "imported from": card.get("imported"),
        "data": data.get("source"),
        "data digest": data.get("digest"),
        "examples": data.get("counts"),
        "seeds": card.get("seeds"),
        "search": card.get("search"),
        "git": f"{card['git_revision']}{dirty}" if card.get("git_revision") else None,
        "machine": f"{machine.get('processor')}, {machine.get('cores')} cores" if machine else None,
        "versions": card.get("versions"),
        "blessed": blessing.get("blessed"),
        **_scores(metrics),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _scores(metrics: dict[str, Any]) -> dict[str, str]:
    """Give each score with the interval that the evaluation is confident of, where it has one."""
    level, intervals = metrics.get("confidence"), metrics.get("intervals") or {}
    scores = {k: v for k, v in metrics.items() if isinstance(v, float) and k != "confidence"}
    told = {key: f"{value:.4f}" for key, value in scores.items()}
    for key in told.keys() & intervals.keys():
        low, high = intervals[key]["low"], intervals[key]["high"]
        told[key] += f" ({low:.4f} to {high:.4f} with {level:.0%} confidence)"
    return told


def _leaves(node: Any, path: str) -> list[tuple[str, Any]]:
    if not isinstance(node, dict) or not node:
        return [(path, node)]
    return [leaf for key in node for leaf in _leaves(node[key], f"{path}.{key}" if path else key)]


def _row(change: "Change") -> list[str]:
    numbers = [change.before, change.after]
    moved = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
    by = f"{change.after - change.before:+.4g}" if moved else ""
    return [change.section, change.key, *map(_clipped, numbers), by]


def _clipped(value: Any) -> str:
    text = _short(value)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)
