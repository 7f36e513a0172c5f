"""`convoy models`: the versions in a store."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs import console, options
from jobs.commands.labels import settle
from jobs.exits import CommandError

if TYPE_CHECKING:
    from serving.store import Store

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
ImageSize = Annotated[
    tuple[int, int] | None,
    typer.Option(metavar="H W", help="Height and width of its images, for a model of any size."),
]


@app.command("list")
def list_(store: options.StoreDir = DEFAULT, json: options.Json = False) -> None:
    """List models with their versions, the live one and the labels."""
    from serving.errors import StoreError
    from serving.store import Store

    found = Store(store)
    try:
        entries = [_entry(found, name) for name in found.names()]
        strays = {name: found.strays(name) for name in found.names()}
        rows = [_row(entry, found.pending(entry["name"])) for entry in entries]
    except StoreError as problem:
        raise CommandError(str(problem)) from None
    for name in (name for name in strays if strays[name]):
        odd = ", ".join(map(repr, strays[name]))
        console.stderr.print(
            f"{store / name} holds {odd}, which TensorFlow Serving takes for versions",
            soft_wrap=True,
        )
    if json:
        console.print_json(entries)
    else:
        console.print_table(f"models in {store}", ["name", "live", "versions", "labels"], rows)


@app.command("import")
def import_(
    source: Source,
    name: NameOption,
    scaling: ScalingOption = None,
    labels: Labels = None,
    image_size: ImageSize = None,
    servers: options.Servers = None,
    signing_key: options.SigningKey = None,
    settle_seconds: options.SettleSeconds = 30,
    load_seconds: options.LoadSeconds = 300,
    store: options.StoreDir = DEFAULT,
    json: options.Json = False,
) -> None:
    """Publish a model of Keras 2 (.h5, .keras, SavedModel), or applications/NAME from ImageNet."""
    if image_size is not None and min(image_size) < 1:
        raise CommandError(f"--image-size: expected pixels, 1 or more, received {image_size}")
    settling = options.settling(servers, settle_seconds, load_seconds)
    console.load_tensorflow()
    from jobs.importing import Origin, publish_application, publish_file
    from pipeline import labels as class_names
    from serving.errors import StoreError
    from serving.store import Store

    try:
        found = Store(store, signer=options.signer(signing_key))
        names = class_names.read(labels) if labels else ()
        origin = Origin(scaling, names, image_size)
        if source.startswith("applications/"):
            version = publish_application(source, name, found, origin)
        else:
            version = publish_file(Path(source), name, found, origin)
        settle(found, name, version, settling)
    except (ValueError, StoreError) as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({"name": name, "version": version})
    else:
        console.stdout.print(f"published: {name} version {version} in {store}")


def _entry(store: "Store", name: str) -> dict[str, Any]:
    return {
        "name": name,
        "versions": store.versions(name),
        "live": store.live(name),
        "labels": store.labels(name),
    }


def _row(entry: dict[str, Any], pending: Mapping[str, int]) -> list[Any]:
    labels = [f"{label}={version}" for label, version in entry["labels"].items()]
    labels += [f"{label} to be {version}" for label, version in pending.items()]
    versions = ", ".join(map(str, entry["versions"]))
    return [entry["name"], entry["live"] or "none", versions, ", ".join(labels)]
