"""Image files in directories: one directory per class, with or without a level of splits above."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

from pipeline.sources.source import Examples, Source

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
} | {
    "val": "validation",
    "test": "test",
}
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif"}
log = logging.getLogger(__name__)
Files = dict[str, list[Path]]  # class name -> its image files


def folder(place: str) -> Source:
    """Read `DIR/[split/]class/file`; every class must be present in the training split.

    Raises ValueError when there are fewer than two classes, a class has no image, or a file does
    not decode.
    """
    root = Path(place)
    if not root.is_dir():
        raise ValueError(f"source folder: {place} is no directory")
    splits = _find_splits(root)
    classes = sorted(splits["train"])
    _check_classes(root, splits, classes)
    features: dict[str, Any] = {
        "image": tfds.features.Image(
            shape=(None, None, 3)
        ),  # files are kept as they are, of any size
        "label": tfds.features.ClassLabel(names=classes),
    }
    generators = {name: _examples(root, files) for name, files in splits.items()}
    return Source("folder", _digest(root, splits), features, generators)


def _find_splits(root: Path) -> dict[str, Files]:
    children = _directories(root)
    if children and all(child.name.lower() in SPLIT_NAMES for child in children):
        splits = {SPLIT_NAMES[child.name.lower()]: _find_classes(child) for child in children}
        if "train" not in splits:
            raise ValueError(
                f"source folder: {root} has {', '.join(sorted(splits))} but no train directory"
            )
        return splits
    return {"train": _find_classes(root)}


def _find_classes(split: Path) -> Files:
    return {child.name: _image_files(child) for child in _directories(split)}


def _image_files(directory: Path) -> list[Path]:
    files = sorted(path for path in directory.iterdir() if path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if len(images) < len(files):
        log.warning(
            "%s: %d files passed over, not %s",
            directory,
            len(files) - len(images),
            sorted(SUFFIXES),
        )
    return images


def _directories(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


def _check_classes(root: Path, splits: dict[str, Files], classes: list[str]) -> None:
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise ValueError(
            f"source folder: a classifier needs at least 2 classes, {root} has {len(classes)} "
            f"({found}); expected one directory of images per class"
        )
    for name, files in splits.items():
        if unknown := sorted(set(files) - set(classes)):
            raise ValueError(
                f"source folder: {root}/{name} has classes that train lacks: {', '.join(unknown)}"
            )
    if empty := [label for label in classes if not splits["train"][label]]:
        raise ValueError(
            f"source folder: no image in class {', '.join(empty)} of {root}; allowed: "
            f"{', '.join(sorted(SUFFIXES))}"
        )


def _examples(root: Path, files: Files) -> Examples:
    def examples() -> Iterator[tuple[str, dict[str, Any]]]:
        for label, paths in files.items():
            for path in paths:
                _check_decodes(path)
                yield path.relative_to(root).as_posix(), {"image": str(path), "label": label}

    return examples


def _check_decodes(path: Path) -> None:
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError) as problem:
        raise ValueError(f"source folder: {path} is no image that decodes: {problem}") from None


def _digest(root: Path, splits: dict[str, Files]) -> str:
    digest = hashlib.sha256()
    for name, files in sorted(splits.items()):
        for label, paths in files.items():
            for path in paths:
                digest.update(
                    f"{name}/{label}/{path.relative_to(root)}\0{path.stat().st_size}\n".encode()
                )
                digest.update(path.read_bytes())
    return digest.hexdigest()
