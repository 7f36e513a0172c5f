"""Image files in directories: one directory per class, with or without a level of splits above."""

import logging
from dataclasses import replace
from pathlib import Path

from pipeline.labels import normal
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
from pipeline.sources.source import Source, split_named

log = logging.getLogger(__name__)
OUTSIDE = "in no class's directory"
Files = dict[str, list[ImageFile]]  # class name -> its image files


def folder(place: str, data_dir: Path) -> Source:
    """Read `[split/]class/[.../]file` from a directory or archive, class names in any script.

    Several directories of one split, or of one class, are joined. Every file that is no image of a
    class is passed over and named. Raises ValueError when there
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
        log.warning("%s: passed over, %d in all: %s", place, len(left_out), told)
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
    named = [child for child in children if split_named(child.name)]
    if not _are_splits(named, children, root):
        return {"train": _find_classes(root, root)}
    splits: dict[str, Files] = {}
    for child in named:
        found = splits.setdefault(split_named(child.name) or "", {})
        for label, files in _find_classes(child, root).items():
            found.setdefault(label, []).extend(files)
    if "train" not in splits:
        there = ", ".join(sorted(splits))
        raise ValueError(f"source folder: {root} has {there} but no train directory")
    return splits


def _are_splits(named: list[Path], children: list[Path], root: Path) -> bool:
    """Tell whether directories called train and the like are splits, and not classes.

    They are where no other directory is there. Beside others, two kinds of split are, where one
    holds directories; train alone is where it holds nothing else: a class holds images.
    """
    if len(named) == len(children):
        return bool(named)
    kinds = {split_named(child.name) for child in named}
    nested = any(directories(child) for child in named)
    if len(kinds) > 1:
        return nested
    images = (path for child in named for path in child.iterdir() if not passed_over(path, root))
    return kinds == {"train"} and nested and not any(images)


def _find_classes(split: Path, root: Path) -> Files:
    found: Files = {}
    for child in directories(split):
        label = normal(child.name, f"source folder: {split}")
        images = [path for path in files_below(child) if not passed_over(path, root)]
        files = [ImageFile(path, readable(path, root), label) for path in images]
        found.setdefault(label, []).extend(files)
    return found


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
