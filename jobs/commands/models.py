"""`convoy models`: the versions in a store."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs import console, options
from jobs.exits import CommandError

app = typer.Typer(no_args_is_help=True, help="The versions in a store.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
DEFAULT = Path("models")
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A model's file or directory, or applications/NAME.")
]
NameOption = Annotated[str, typer.Option("--name", help="The name to publish it under.")]
ScalingOption = Annotated[
    Literal["unit", "caffe", "torch", "tf", "none"] | None,
    typer.Option("--scaling", help="Scaling of the inputs it was trained on; none is 0..255."),
]
Labels = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Class names, one per line, in order.")
]
Side = Annotated[
    int | None, typer.Option(min=1, help="Side of its images, for a model that takes any.")
]


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
    from serving.store import Store

    _make_live(name, Store(store).rollback, json)


@app.command("promote")
def promote(name: Name, store: options.StoreDir = DEFAULT, json: options.Json = False) -> None:
    """Make the canary the live version; the one before stays loaded, for a rollback."""
    from serving.store import Store

    _make_live(name, Store(store).promote, json)


@app.command("import")
def import_(
    source: Source,
    name: NameOption,
    scaling: ScalingOption = None,
    labels: Labels = None,
    image_size: Side = None,
    store: options.StoreDir = DEFAULT,
    json: options.Json = False,
) -> None:
    """Publish a model of Keras 2 (.h5, .keras, SavedModel), or applications/NAME from ImageNet."""
    console.load_tensorflow()
    from jobs.importing import Origin, publish_application, publish_file
    from serving.errors import StoreError
    from serving.store import Store

    try:
        names = labels.read_text(encoding="utf-8").split("\n") if labels else []
        size = (image_size, image_size) if image_size else None
        origin = Origin(scaling, [line.strip() for line in names if line.strip()], size)
        if source.startswith("applications/"):
            version = publish_application(source, name, Store(store), origin)
        else:
            version = publish_file(Path(source), name, Store(store), origin)
    except (ValueError, StoreError, OSError) as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({"name": name, "version": version})
    else:
        console.stdout.print(f"published: {name} version {version} in {store}", highlight=False)


def _make_live(name: str, choose: Callable[[str], int], json: bool) -> None:
    from serving.errors import StoreError

    try:
        version = choose(name)
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
