"""`convoy predict`: ask a server about image files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import console, options
from jobs.exits import FAILED, CommandError

if TYPE_CHECKING:
    from serving.client import Prediction

Files = Annotated[
    list[Path], typer.Argument(metavar="FILES...", help="Images, or directories of images.")
]
Model = Annotated[str, typer.Option(help="The model's name.")]
Address = Annotated[str, typer.Option(metavar="HOST:PORT", help="The server's gRPC address.")]
Version = Annotated[int | None, typer.Option(help="A version; without it, the server's newest.")]
Label = Annotated[str | None, typer.Option(help='A version label, such as "stable".')]
Top = Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to give.")]
ImageNet = Annotated[
    bool, typer.Option("--imagenet", help="Name ImageNet's classes, for an unmodified application.")
]

SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP", b"GIF8": "GIF"}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}


def predict(
    files: Files,
    model: Model,
    address: Address = "localhost:8500",
    version: Version = None,
    label: Label = None,
    top: Top = 1,
    imagenet: ImageNet = False,
    json: options.Json = False,
) -> None:
    """Classify image files through gRPC."""
    from serving.client import Client
    from serving.errors import CallError

    images = find_images(files)
    try:
        with Client(address) as client:
            stream = client.stream(images, model=model, version=version, label=label, top=top)
            predictions = list(stream)
    except (CallError, OSError) as problem:
        raise CommandError(str(problem), FAILED) from None
    if imagenet:
        predictions = _named(predictions)
    if json:
        pairs = zip(images, predictions, strict=True)
        console.print_json([to_json(image, answer, model) for image, answer in pairs])
    else:
        print_predictions(images, predictions)


def find_images(files: list[Path]) -> list[Path]:
    """Expand directories, and raise CommandError for what is missing or is no image."""
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise CommandError(f"no image in {path}; expected {', '.join(sorted(SUFFIXES))}")
            found += inside
        else:
            found.append(path)
    for path in found:
        _check(path)
    return found


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
    console.print_table(f"model version {predictions[0].version}", ["file", *ranks], rows)


def _named(predictions: list["Prediction"]) -> list["Prediction"]:
    console.load_tensorflow()
    from jobs import imagenet

    try:
        return imagenet.name_classes(predictions)
    except ValueError as problem:
        raise CommandError(str(problem)) from None


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as problem:
        raise CommandError(f"cannot read {path}: {problem.strerror}") from None
    if not any(start.startswith(signature) for signature in SIGNATURES):
        raise CommandError(f"{path} is no image: expected one of {', '.join(SIGNATURES.values())}")
