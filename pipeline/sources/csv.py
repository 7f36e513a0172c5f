"""A CSV manifest of image files: a header, then path, label, optionally split, and metadata."""

import codecs
import csv
import io
import logging
from collections.abc import Iterator
from pathlib import Path

from pipeline.labels import normal
from pipeline.sources.files import ImageFile, file_source
from pipeline.sources.source import Source, split_named

REQUIRED = {"path", "label"}
RESERVED = {"image", "features", "key", "tfds_id"}  # what prepared examples hold besides metadata
KOREAN = "cp949"
ENCODINGS = ("utf-8-sig", KOREAN)  # spreadsheets write a mark; Korean ones may write the second
MOST_NAMED = 3  # files in a message
log = logging.getLogger(__name__)


def csv_manifest(place: str, data_dir: Path) -> Source:
    """Read a manifest; paths are absolute or relative to the manifest, `split` defaults to train.

    Further columns are metadata: kept with the examples as text, never trained on. A file that is
    listed twice is two examples, which is said. Raises ValueError that names the line: a missing
    column, file or label, an unknown split, or a line with more or fewer fields than the header.
    """
    manifest = Path(place)
    if not manifest.is_file():
        raise ValueError(f"source csv: there is no file {place}")
    splits: dict[str, list[ImageFile]] = {}
    listed: dict[str, list[str]] = {}  # path -> the lines that it stands in
    for where, row in _rows(manifest):
        splits.setdefault(_split(row, where), []).append(_image_file(row, where, manifest))
        listed.setdefault(row["path"], []).append(where.rpartition(":")[2])
    _name_repeats(place, {path: lines for path, lines in listed.items() if len(lines) > 1})
    return file_source("csv", splits, _classes(place, splits))


def _rows(manifest: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each row, and the file and line where it stands."""
    lines = csv.reader(io.StringIO(_text(manifest), newline=""), strict=True)
    try:
        header = next(lines, [])
        _check_header(manifest, header)
        for fields in lines:
            where = f"{manifest}:{lines.line_num}"
            if fields and len(fields) != len(header):
                raise ValueError(
                    f"source csv: {where} has {len(fields)} fields, the header {len(header)}; a "
                    "field with a comma in it stands between double quotes"
                )
            if fields:  # an empty line has none
                yield where, dict(zip(header, fields, strict=True))
    except csv.Error as problem:
        raise ValueError(f"source csv: {manifest}:{lines.line_num}: {problem}") from None


def _check_header(manifest: Path, header: list[str]) -> None:
    if missing := REQUIRED - set(header):
        raise ValueError(
            f"source csv: {manifest} has no column {', '.join(sorted(missing))}; its first line, "
            f"with commas between columns, is {header}"
        )
    if repeated := {name for name in header if header.count(name) > 1}:
        raise ValueError(f"source csv: {manifest} has two columns {', '.join(sorted(repeated))}")
    if reserved := RESERVED & set(header):
        raise ValueError(
            f"source csv: {manifest} has a column named {', '.join(sorted(reserved))}, which "
            f"prepared examples need for themselves: rename it"
        )


def _text(manifest: Path) -> str:
    """Decode a manifest: UTF-8, UTF-16 with its mark, or what Korean Windows writes."""
    raw = manifest.read_bytes()
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if encoding == KOREAN:
            log.warning("%s is no UTF-8, and is read as CP949 (Korean Windows)", manifest)
        return text
    raise ValueError(
        f"source csv: {manifest} is neither UTF-8 nor UTF-16 nor CP949; save it as CSV UTF-8"
    )


def _image_file(row: dict[str, str], where: str, manifest: Path) -> ImageFile:
    path = manifest.parent / row["path"]
    if not row["label"].strip():
        raise ValueError(f"source csv: {where} has no label")
    if not path.is_file():
        raise ValueError(f"source csv: {where}: there is no file {path}")
    known = {*REQUIRED, "split"}
    metadata = {name: text for name, text in row.items() if name not in known}
    return ImageFile(path, row["path"], normal(row["label"], f"source csv: {where}"), metadata)


def _split(row: dict[str, str], where: str) -> str:
    word = row.get("split", "").strip() or "train"
    split = split_named(word)
    if split is None:
        raise ValueError(
            f"source csv: {where}: split is {word!r}; allowed: train, validation, test"
        )
    return split


def _name_repeats(place: str, repeats: dict[str, list[str]]) -> None:
    if repeats:
        named = [f"{path} in lines {', '.join(lines)}" for path, lines in repeats.items()]
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        log.warning(
            "%s lists files more than once, each time as an example: %s%s",
            place, "; ".join(named[:MOST_NAMED]), more,
        )  # fmt: skip


def _classes(place: str, splits: dict[str, list[ImageFile]]) -> list[str]:
    classes = sorted({file.label for file in splits.get("train", [])})
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        raise ValueError(f"source csv: {place} needs at least 2 classes in train, found {found}")
    if unknown := {f.label for files in splits.values() for f in files} - set(classes):
        raise ValueError(f"source csv: classes that train lacks: {', '.join(sorted(unknown))}")
    return classes
