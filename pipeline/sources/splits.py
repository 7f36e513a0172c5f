"""The train, validation and test parts of a prepared source, as slices that can be read.

Where they come from says `cut.py`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from pipeline.sources.index import examples, index
from pipeline.sources.source import KEY


@dataclass(frozen=True, eq=False)
class Piece:
    """Some examples of one prepared split."""

    split: str
    rows: np.ndarray  # int64 [N], ascending

    def read(self, builder: Any, **which: Any) -> tf.data.Dataset:
        """Give the examples in the split's order."""
        first, end = int(self.rows[0]), int(self.rows[-1]) + 1
        span = tfds.core.ReadInstruction(self.split, from_=first, to=end, unit="abs")
        found = examples(builder, span, **which)
        if end - first == len(self.rows):
            return found
        wanted = np.zeros(end - first, bool)
        wanted[self.rows - first] = True
        chosen = found.enumerate().filter(lambda row, example: tf.gather(wanted, row))
        counted = chosen.apply(tf.data.experimental.assert_cardinality(len(self.rows)))
        return counted.map(lambda row, example: example)


@dataclass(frozen=True, eq=False)
class Slice:
    """A part of a prepared source."""

    builder: Any
    pieces: tuple[Piece, ...]  # none of them empty
    numbers: np.ndarray | None = None  # int64 [K]: our class number of each of the source's classes

    @property
    def count(self) -> int:
        return sum(len(piece.rows) for piece in self.pieces)

    @property
    def identity(self) -> str:
        """What tells slices of one source apart: sha256 over rows and classes, hex."""
        digest = hashlib.sha256(b"" if self.numbers is None else self.numbers.tobytes())
        for piece in self.pieces:
            digest.update(f"{piece.split}\0".encode())
            digest.update(piece.rows.tobytes())
        return digest.hexdigest()

    def read(self) -> tf.data.Dataset:
        """Give the examples in a fixed order.

        Each has `image` (encoded bytes) or `features`, `label`, and as `key` the file or row that
        it came from, as far as the source knows it.
        """
        return self._read().map(self._with_key, tf.data.AUTOTUNE)

    def part(self, start: int, stop: int) -> "Slice":
        """Give the examples from `start` to before `stop`, counted within this part."""
        return Slice(self.builder, tuple(self._pieces(start, stop)), self.numbers)

    def contents(self) -> np.ndarray:
        """Give a number for each example, uint64 [N], equal for equal bytes, in `read`'s order."""
        found = [index(self.builder, p.split)["content"][p.rows] for p in self.pieces]
        return np.concatenate(found) if found else np.empty(0, np.uint64)

    def columns(self) -> tuple[str, ...]:
        """Give the names of the metadata: further features of one text, name or number each."""
        reserved = {"image", "features", "label", KEY}
        return tuple(
            name
            for name, kind in self.builder.info.features.items()
            if name not in reserved and isinstance(kind, tfds.features.Tensor) and kind.shape == ()
        )

    def metadata(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Give the named columns of `columns` as text, str [N], in the order of `read`."""
        if not names:
            return {}
        features = self.builder.info.features
        rows = list(self._read(names=names, keyed=False).as_numpy_iterator())
        return {
            name: np.array([_text(features[name], row[name]) for row in rows]) for name in names
        }

    def _read(self, **which: Any) -> tf.data.Dataset:
        first, *others = (piece.read(self.builder, **which) for piece in self.pieces)
        for other in others:
            first = first.concatenate(other)
        return first

    def _pieces(self, start: int, stop: int) -> Iterator[Piece]:
        for piece in self.pieces:
            rows = piece.rows[max(start, 0) : max(stop, 0)]
            if len(rows):
                yield Piece(piece.split, rows)
            start, stop = start - len(piece.rows), stop - len(piece.rows)

    def _with_key(self, example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        name = "image" if "image" in example else "features"
        key = example[KEY] if KEY in example else example["tfds_id"]
        label = example["label"]
        if self.numbers is not None:
            label = tf.gather(self.numbers, label)
        return {name: example[name], "label": label, KEY: key}


def _text(feature: Any, value: Any) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        return str(feature.int2str(int(value)))
    return value.decode() if isinstance(value, bytes) else str(value)
