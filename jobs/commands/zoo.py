"""`convoy zoo`: the architectures, what they cost and what they look like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import console, options
from jobs.exits import CommandError

if TYPE_CHECKING:
    from pipeline.standardize import Preparation
    from trainer.flops import Cost
    from trainer.zoo.architecture import Architecture

app = typer.Typer(invoke_without_command=True, help="The architectures that a job can name.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that convoy zoo lists.")]
Size = Annotated[int, typer.Option("--image-size", metavar="PIXELS", help="Square image's side.")]
Channels = Annotated[int, typer.Option(help="1 (gray) or 3 (colour).")]
Classes = Annotated[int, typer.Option("--num-classes", help="Outputs.")]
Features = Annotated[int, typer.Option(help="Length of the vectors that mlp and mlp_wide take.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="OPTION=VALUE", help="One of the architecture's own options."),
]
Diagram = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the layers' graph.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="An image file.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Without it, the run's directory.")]


@app.callback()
def list_(context: typer.Context, json: options.Json = False) -> None:
    """List names, parameters, multiply-adds, smallest image and paper.

    Costs are for images of 224x224x3 and 1000 classes, or vectors of 4 measurements and 3 classes.
    """
    if context.invoked_subcommand is not None:
        return
    console.load_tensorflow()
    from trainer import zoo
    from trainer.zoo.costs import COSTS

    entries = [
        {
            "name": name,
            "parameters": COSTS[name][0],
            "multiply_adds": COSTS[name][1],
            "min_image_size": entry.min_image_size,
            "paper": entry.paper,
        }
        for name, entry in zoo.MODELS.items()
    ]
    if json:
        console.print_json(entries)
    else:
        _print_list(entries)


@app.command("show")
def show(
    name: Name,
    image_size: Size = 224,
    channels: Channels = 3,
    num_classes: Classes = 1000,
    features: Features = 4,
    set_: Set = None,
    diagram: Diagram = None,
    json: options.Json = False,
) -> None:
    """Show an architecture's layers with their output sizes, parameters and multiply-adds."""
    console.load_tensorflow()
    from trainer import diagram as pictures
    from trainer import flops, zoo

    def look() -> "Cost":
        network = zoo.build(
            name, (image_size, image_size), channels, num_classes, features, **chosen
        )
        if diagram:
            pictures.draw(network).savefig(diagram)
        return flops.count(network)

    try:
        chosen = dict(_option(text) for text in set_ or [])
        cost = flops.without_weights(look)
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json(_summary(name, zoo.MODELS[name], cost))
    else:
        _print(name, zoo.MODELS[name], cost)


@app.command("filters")
def filters(run: Run, image: Image, out: Out = None, json: options.Json = False) -> None:
    """Draw a run's first filters, and an image after each convolution and pooling."""
    from jobs.rundir import RunDir

    directory = RunDir.open(run)
    job = directory.job()
    console.load_tensorflow()
    from jobs import preparation
    from trainer import feature_maps

    folder = out or run
    files = {name: folder / f"{name}.png" for name in ("filters", "feature_maps")}
    try:
        network = preparation.load_model(directory)
        kernels = feature_maps.draw_filters(network)
        pixels = _pixels(image, preparation.load_data(job).prepare)
        maps = feature_maps.draw_maps(network, pixels)
        folder.mkdir(parents=True, exist_ok=True)
        kernels.savefig(files["filters"])
        maps.savefig(files["feature_maps"])
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({name: str(path) for name, path in files.items()})
    else:
        console.stdout.print("\n".join(map(str, files.values())))


def _option(text: str) -> tuple[str, Any]:
    from jobs.config import parse_value

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"--set {text}: expected OPTION=VALUE, such as activation=relu")
    return name.strip(), parse_value(value.strip())


def _pixels(path: Path, prepare: "Preparation") -> Any:
    """Decode an image file and prepare it as in training, by the data's statistics if need be."""
    import tensorflow as tf

    try:
        image = prepare.decode(tf.constant(path.read_bytes()))
    except tf.errors.InvalidArgumentError:
        raise ValueError(f"{path} is no image: expected JPEG, PNG, BMP or GIF") from None
    return prepare(image[None])[0].numpy()


def _print_list(entries: list[dict[str, Any]]) -> None:
    rows = [
        [
            entry["name"],
            f"{entry['parameters']:,}",
            f"{entry['multiply_adds']:,}",
            _smallest(entry["min_image_size"]),
            entry["paper"],
        ]
        for entry in entries
    ]
    head = ["name", "parameters", "multiply-adds", "smallest image", "paper"]
    console.print_table("zoo", head, rows)


def _smallest(min_image_size: int | None) -> str:
    return f"{min_image_size}x{min_image_size}" if min_image_size else "takes vectors"


def _summary(name: str, entry: "Architecture", cost: "Cost") -> dict[str, Any]:
    return {
        "name": name,
        "parameters": cost.parameters,
        "trainable_parameters": cost.trainable_parameters,
        "multiply_adds": cost.multiply_adds,
        "min_image_size": entry.min_image_size,
        "paper": entry.paper,
    }


def _print(name: str, entry: "Architecture", cost: "Cost") -> None:
    rows = [
        [
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            f"{layer.multiply_adds:,}" if layer.multiply_adds else "",
        ]
        for layer in cost.layers
    ]
    head = ["layer", "kind", "output", "parameters", "multiply-adds"]
    console.print_table(f"{name}: {entry.paper}", head, rows)
    console.stdout.print(
        f"parameters {cost.parameters:,} (trainable {cost.trainable_parameters:,}), "
        f"multiply-adds {cost.multiply_adds:,}, smallest image {_smallest(entry.min_image_size)}"
    )
    fields = entry.options.model_fields
    varied = [[option, field.default, field.description] for option, field in fields.items()]
    title = "options, for --set and model.options"
    console.print_table(title, ["option", "default", "what it sets"], varied)
