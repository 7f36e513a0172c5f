"""Image files in directories: one directory per class, with or without a level of splits above."""

import logging
import unicodedata
from dataclasses import replace
from pathlib import Path

from pipeline.listing import (
    SUFFIXES,
    LeftOut,
    count_reasons,
    directories,
    files_below,
    passed_over,
    readable,
)
from pipeline.sources.archive import is_archive, step_in, unpack
from pipeline.sources.files import ImageFile, file_source
from pipeline.sources.source import Source

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}
log = logging.getLogger(__name__)
OUTSIDE = "in no class's directory"
Files = dict[str, list[ImageFile]]  # class name -> its image files


def folder(place: str, data_dir: Path) -> Source:
    """Read `[split/]class/[.../]file` from a directory or archive, class names in any script.

    Every file that is no image of a class is passed over and named. Raises ValueError when there
    are fewer than two classes, a class of the training split has no image, something cannot be
    read, or an archive is damaged or not safe to unpack.
    """
    whole = Path(place)
    is_packed = whole.is_file() and is_archive(whole)
    if is_packed:
        whole = unpack(whole, data_dir)
    if not whole.is_dir():
        raise ValueError(f"source folder: {place} is no directory, .zip or .tar.gz")
    splits = _find_splits(step_in(whole) if is_packed else whole)
    classes = sorted(splits["train"])
    _check_classes(place, splits, classes)
    files = {
        split: [f for label in sorted(found) for f in found[label]]
        for split, found in splits.items()
    }
    source = file_source("folder", files, classes)
    left_out = _left_out(whole, {file.path for listed in files.values() for file in listed})
    if left_out:
        told = count_reasons((file["key"], file["reason"]) for file in left_out)
        log.warning("%s: %d files are passed over: %s", place, len(left_out), told)
    return replace(source, passed_over=left_out)


def _left_out(root: Path, found: set[Path]) -> LeftOut:
    """Name every file below a directory that was not found to be an image of a class."""
    return [
        {"key": readable(path, root), "reason": passed_over(path, root) or OUTSIDE}
        for path in files_below(root)
        if path not in found
    ]


def _find_splits(root: Path) -> dict[str, Files]:
    children = directories(root)
    if children and all(child.name.lower() in SPLIT_NAMES for child in children):
        splits = {SPLIT_NAMES[child.name.lower()]: _find_classes(child, root) for child in children}
        if "train" not in splits:
            found = ", ".join(sorted(splits))
            raise ValueError(f"source folder: {root} has {found} but no train directory")
        return splits
    return {"train": _find_classes(root, root)}


def _find_classes(split: Path, root: Path) -> Files:
    found: Files = {}
    for child in directories(split):  # one class may have two, its name composed and decomposed
        found.setdefault(_label(child), []).extend(_image_files(child, root))
    return found


def _image_files(directory: Path, root: Path) -> list[ImageFile]:
    label = _label(directory)
    images = [path for path in files_below(directory) if not passed_over(path, root)]
    return [ImageFile(path, readable(path, root), label) for path in images]


def _label(directory: Path) -> str:
    return unicodedata.normalize("NFC", directory.name)  # macOS decomposes, others compose


def _check_classes(place: str, splits: dict[str, Files], classes: list[str]) -> None:
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise ValueError(
            f"source folder: a classifier needs at least 2 classes, {place} has {len(classes)} "
            f"({found}); expected one directory of images per class"
        )
    for name, files in splits.items():
        if unknown := sorted(set(files) - set(classes)):
            raise ValueError(
                f"source folder: {name} has classes that train lacks: {', '.join(unknown)}"
            )
    if empty := [label for label in classes if not splits["train"][label]]:
        allowed = ", ".join(sorted(SUFFIXES))
        raise ValueError(
            f"source folder: no image in class {', '.join(empty)} of {place}; allowed: {allowed}"
        )
