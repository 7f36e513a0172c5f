"""`convoy predict`: ask a server about image files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from jobs import caller, console, options
from jobs.exits import FAILED, CommandError
from jobs.images import find_images

if TYPE_CHECKING:
    from serving.client import Client, Prediction

Files = Annotated[
    list[Path], typer.Argument(metavar="FILES...", help="Images, or directories of images.")
]
Model = Annotated[str, typer.Option(help="The model's name.")]
Address = Annotated[str, typer.Option(metavar="HOST:PORT", help="The server's gRPC address.")]
Version = Annotated[int | None, typer.Option(help="A version, rather than a label.")]
Label = Annotated[
    str | None,
    typer.Option(
        help='A version label; without one, "stable", or the newest where the model has no labels.'
    ),
]
Top = Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to give.")]
ImageNet = Annotated[
    bool, typer.Option("--imagenet", help="Name ImageNet's classes, for an unmodified application.")
]

STABLE = "stable"
UNRECOGNIZED = "Unrecognized servable version label"  # TensorFlow Serving's words, and ours
MANY = 50  # files, from which on a person who waits sees how far they are


def predict(
    files: Files,
    model: Model,
    address: Address = "localhost:8500",
    version: Version = None,
    label: Label = None,
    top: Top = 1,
    imagenet: ImageNet = False,
    ca: options.Ca = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Classify image files through gRPC, by the live version unless told otherwise."""
    if version is not None and label is not None:
        raise CommandError(f"got --version {version} and --label {label}: give one of them")
    from serving.client import Client
    from serving.errors import CallError

    images = find_images(files)
    tls = options.tls(ca, certificate, key)
    try:
        with Client(address, tls=tls, metadata=caller.metadata()) as client:
            stream = _ask(client, images, model, version, label, top)
            predictions = list(_with_progress(stream, len(images)))
    except CallError as problem:
        raise CommandError(str(problem), FAILED) from None
    if imagenet:
        predictions = _named(predictions)
    if json:
        pairs = zip(images, predictions, strict=True)
        console.print_json([to_json(image, answer, model) for image, answer in pairs])
    else:
        print_predictions(images, predictions)


def to_json(image: Path, prediction: "Prediction", model: str) -> dict[str, Any]:
    """Give one prediction as plain JSON values."""
    return {
        "file": str(image),
        "label": prediction.label,
        "class_id": prediction.class_id,
        "probability": prediction.probability,
        "top": [
            {"label": s.label, "class_id": s.class_id, "probability": s.probability}
            for s in prediction.top
        ],
        "model": model,
        "version": prediction.version,
    }


def print_predictions(images: list[Path], predictions: list["Prediction"]) -> None:
    """Print a table, one row an image."""
    rows = [
        [path, *(f"{score.label} {score.probability:.1%}" for score in answer.top)]
        for path, answer in zip(images, predictions, strict=True)
    ]
    ranks = [f"#{rank + 1}" for rank in range(len(predictions[0].top))]
    versions = sorted({answer.version for answer in predictions})  # two during a hot swap
    title = f"model version {', '.join(map(str, versions))}"
    console.print_table(title, ["file", *ranks], rows)


def _ask(
    client: "Client",
    images: list[Path],
    model: str,
    version: int | None,
    label: str | None,
    top: int,
) -> "Iterator[Prediction]":
    if version is None and label is None:
        label = _stable(client, model)
    yield from client.stream(images, model=model, version=version, label=label, top=top)


def _stable(client: "Client", model: str) -> str | None:
    """Give the label of the live version, where the server knows it.

    A request without one goes to the newest version, which may be a canary or one that waits for
    its label. Servers do not tell labels, so the question is asked of the model's signatures.
    """
    from serving.errors import RequestRejected

    try:
        client.signatures(model, label=STABLE)
    except RequestRejected as problem:
        if UNRECOGNIZED in problem.details:
            return None
        raise
    return STABLE


def _with_progress(stream: "Iterator[Prediction]", total: int) -> "Iterable[Prediction]":
    """The same predictions, with a bar on the terminal if there are many."""
    if total < MANY or not console.stderr.is_terminal:
        return stream
    return track(stream, "predicting", total, console=console.stderr, transient=True)


def _named(predictions: list["Prediction"]) -> list["Prediction"]:
    console.load_tensorflow()
    from jobs import imagenet

    try:
        return imagenet.name_classes(predictions)
    except ValueError as problem:
        raise CommandError(str(problem)) from None
