"""`convoy models`: the versions in a store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from jobs import console, options
from jobs.exits import CommandError

app = typer.Typer(no_args_is_help=True, help="The versions in a store.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
DEFAULT = Path("models")


@app.command("list")
def list_(store: options.StoreDir = DEFAULT, json: options.Json = False) -> None:
    """List models with their versions, the live one and the labels."""
    from serving.store import Store

    found = Store(store)
    if json:
        entries = [
            {
                "name": n,
                "versions": found.versions(n),
                "live": found.live(n),
                "labels": found.labels(n),
            }
            for n in found.names()
        ]
        console.print_json(entries)
        return
    rows = [
        [name, found.live(name) or "none", _join(found.versions(name)), _labels(found.labels(name))]
        for name in found.names()
    ]
    console.print_table(f"models in {store}", ["name", "live", "versions", "labels"], rows)


@app.command("rollback")
def rollback(name: Name, store: options.StoreDir = DEFAULT, json: options.Json = False) -> None:
    """Make the version before the live one live again."""
    from serving.errors import StoreError
    from serving.store import Store

    try:
        version = Store(store).rollback(name)
    except StoreError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({"name": name, "live": version})
    else:
        console.stdout.print(f"{name}: version {version} is live")


def _join(versions: list[int]) -> str:
    return ", ".join(map(str, versions))


def _labels(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label}={version}" for label, version in labels.items())
