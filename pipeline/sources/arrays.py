"""Sources whose examples are NumPy arrays in memory."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from sklearn.model_selection import train_test_split

from pipeline.sources.source import Examples, Source

MOST_CLASSES = 100_000  # five times ImageNet-21k's: a larger label is an id or damaged
Columns = Mapping[str, np.ndarray]  # feature name -> one row per example


def stratified(
    name: str, features: Mapping[str, Any], columns: Columns, labels: np.ndarray, test_share: float
) -> Source:
    """Split arrays into train and test with the same share of every class, always the same way."""
    rows = np.arange(len(labels))
    train, test = train_test_split(rows, test_size=test_share, stratify=labels, random_state=0)
    columns = {**columns, "label": labels}
    splits = {"train": rows_of(columns, np.sort(train)), "test": rows_of(columns, np.sort(test))}
    return Source(name, digest_of(columns), features, splits)


def image_array_source(name: str, splits: Mapping[str, Columns]) -> Source:
    """Give a source over uint8 images [N, H, W, C] and class numbers [N], the classes' names."""
    labels = [int(part["label"].max()) for part in splits.values() if len(part["label"])]
    names = numbered(max(labels, default=0), f"source {name}")
    shape = splits["train"]["image"].shape[1:]
    features: dict[str, Any] = {
        "image": tfds.features.Image(shape=shape, encoding_format="png"),
        "label": tfds.features.ClassLabel(names=names),
    }
    content = {
        f"{split}/{key}": column for split, part in splits.items() for key, column in part.items()
    }
    generators = {
        split: rows_of(part, np.arange(len(part["label"]))) for split, part in splits.items()
    }
    return Source(name, digest_of(content), features, generators)


def numbered(highest: int, where: str) -> list[str]:
    """Give the names of classes that are numbers from 0: "0", "1" and so on.

    Raises ValueError for a number that can be no class.
    """
    if highest >= MOST_CLASSES:
        raise ValueError(
            f"{where}: the label {highest} is no class number; allowed: 0 to {MOST_CLASSES - 1}"
        )
    return [str(number) for number in range(highest + 1)]


def rows_of(columns: Columns, rows: np.ndarray) -> Examples:
    """Give a generator function over the chosen rows."""

    def examples() -> Iterator[tuple[str, dict[str, Any]]]:
        for row in rows:
            yield str(row), {name: _plain(column[row]) for name, column in columns.items()}

    return examples


def digest_of(columns: Columns) -> str:
    """Give the sha256 over names, shapes, types and bytes."""
    digest = hashlib.sha256()
    for name, column in sorted(columns.items()):
        digest.update(f"{name} {column.shape} {column.dtype}\n".encode())
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else value.item()
