"""Image files as a source: read whole, and kept as they are."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pipeline.sources.examination import Encoded, Examination
from pipeline.sources.source import Examples, Source


@dataclass(frozen=True)
class ImageFile:
    """One labelled file."""

    path: Path
    key: str  # what a person is told: the path below the source's root
    label: str
    metadata: Mapping[str, str] = field(default_factory=dict)  # column -> text; evaluation slices


def file_source(name: str, splits: dict[str, list[ImageFile]], classes: list[str]) -> Source:
    """Give a source over files, all with the same columns of metadata.

    Files that do not decode are left out and listed as quarantined.
    """
    columns = next((file.metadata for files in splits.values() for file in files), {})
    features: dict[str, Any] = {
        **{name: tfds.features.Text() for name in columns},
        "image": tfds.features.Image(shape=(None, None, 3)),  # any size; the bytes stay as they are
        "label": tfds.features.ClassLabel(names=classes),
    }
    examination = Examination()
    generators = {split: _examples(examination, split, files) for split, files in splits.items()}
    return Source(name, _digest(splits, classes), features, generators, examination)


def _examples(examination: Examination, split: str, files: list[ImageFile]) -> Examples:
    return lambda: examination.sound(split, _encoded(files))


def _encoded(files: list[ImageFile]) -> Iterator[Encoded]:
    for file in files:
        yield Encoded(file.key, file.path.read_bytes(), {**file.metadata, "label": file.label})


def _digest(splits: dict[str, list[ImageFile]], classes: list[str]) -> str:
    digest = hashlib.sha256("\n".join(classes).encode())
    for split, files in sorted(splits.items()):
        for file in files:
            digest.update(
                f"{split}\0{file.label}\0{file.key}\0{file.path.stat().st_size}\n".encode()
            )
            digest.update(file.path.read_bytes())
            if file.metadata:
                digest.update(json.dumps(file.metadata, sort_keys=True).encode())
    return digest.hexdigest()
