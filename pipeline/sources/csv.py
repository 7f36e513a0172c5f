"""A CSV manifest of image files: a header, then path, label, optionally split, and metadata."""

import csv
from pathlib import Path

from pipeline.sources.files import ImageFile, file_source
from pipeline.sources.source import Source

REQUIRED = {"path", "label"}
RESERVED = {"image", "features", "key", "tfds_id"}  # what prepared examples hold besides metadata
SPLITS = ("train", "validation", "test")


def csv_manifest(place: str, data_dir: Path) -> Source:
    """Read a manifest; paths are absolute or relative to the manifest, `split` defaults to train.

    Further columns are metadata: kept with the examples as text, never trained on. Raises
    ValueError that names the line: a missing column, file or label, or an unknown split.
    """
    manifest = Path(place)
    if not manifest.is_file():
        raise ValueError(f"source csv: there is no file {place}")
    splits: dict[str, list[ImageFile]] = {}
    with manifest.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a mark
        rows = csv.DictReader(file)
        if missing := REQUIRED - set(rows.fieldnames or ()):
            raise ValueError(f"source csv: {place} has no column {', '.join(sorted(missing))}")
        if reserved := RESERVED & set(rows.fieldnames or ()):
            raise ValueError(
                f"source csv: {place} has a column named {', '.join(sorted(reserved))}, which "
                f"prepared examples need for themselves: rename it"
            )
        for row in rows:
            split = row.get("split") or "train"
            splits.setdefault(split, []).append(
                _image_file(row, f"{place}:{rows.line_num}", manifest)
            )
    return file_source("csv", splits, _classes(place, splits))


def _image_file(row: dict[str, str], where: str, manifest: Path) -> ImageFile:
    path = manifest.parent / (row["path"] or "")
    if not row["label"]:
        raise ValueError(f"source csv: {where} has no label")
    if not path.is_file():
        raise ValueError(f"source csv: {where}: there is no file {path}")
    if (row.get("split") or "train") not in SPLITS:
        allowed = ", ".join(SPLITS)
        raise ValueError(f"source csv: {where}: split is {row['split']!r}; allowed: {allowed}")
    known = {*REQUIRED, "split", None}  # None: what stands in a line beyond the last column
    metadata = {name: text or "" for name, text in row.items() if name not in known}
    return ImageFile(path, row["path"], row["label"], metadata)


def _classes(place: str, splits: dict[str, list[ImageFile]]) -> list[str]:
    classes = sorted({file.label for file in splits.get("train", [])})
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise ValueError(f"source csv: {place} needs at least 2 classes in train, found {found}")
    if unknown := {f.label for files in splits.values() for f in files} - set(classes):
        raise ValueError(f"source csv: classes that train lacks: {', '.join(sorted(unknown))}")
    return classes
