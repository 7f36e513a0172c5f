"""Image files in directories: one directory per class, with or without a level of splits above."""

import logging
import unicodedata
from pathlib import Path

from pipeline.sources.archive import is_archive, unpack
from pipeline.sources.files import SUFFIXES, ImageFile, file_source
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
Files = dict[str, list[ImageFile]]  # class name -> its image files


def folder(place: str, data_dir: Path) -> Source:
    """Read `[split/]class/file` from a directory or archive, class names in any script.

    Raises ValueError when there are fewer than two classes, a class of the training split has no
    image, or an archive is not safe to unpack.
    """
    root = Path(place)
    if root.is_file() and is_archive(root):
        root = unpack(root, data_dir)
    if not root.is_dir():
        raise ValueError(f"source folder: {place} is no directory, .zip or .tar.gz")
    splits = _find_splits(root)
    classes = sorted(splits["train"])
    _check_classes(place, splits, classes)
    files = {
        split: [f for label in sorted(found) for f in found[label]]
        for split, found in splits.items()
    }
    return file_source("folder", files, classes)


def _find_splits(root: Path) -> dict[str, Files]:
    children = _directories(root)
    if children and all(child.name.lower() in SPLIT_NAMES for child in children):
        splits = {SPLIT_NAMES[child.name.lower()]: _find_classes(child, root) for child in children}
        if "train" not in splits:
            found = ", ".join(sorted(splits))
            raise ValueError(f"source folder: {root} has {found} but no train directory")
        return splits
    return {"train": _find_classes(root, root)}


def _find_classes(split: Path, root: Path) -> Files:
    return {_label(child): _image_files(child, root) for child in _directories(split)}


def _image_files(directory: Path, root: Path) -> list[ImageFile]:
    files = sorted(path for path in directory.iterdir() if path.is_file())
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    if len(images) < len(files):
        others = len(files) - len(images)
        log.warning("%s: %d files passed over, not %s", directory, others, sorted(SUFFIXES))
    label = _label(directory)
    return [ImageFile(path, path.relative_to(root).as_posix(), label) for path in images]


def _label(directory: Path) -> str:
    return unicodedata.normalize("NFC", directory.name)  # macOS decomposes, others compose


def _directories(root: Path) -> list[Path]:
    return sorted(
        p for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "__MACOSX"))
    )


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
