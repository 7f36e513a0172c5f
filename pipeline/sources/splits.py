"""The train, validation and test parts of a prepared source.

They are cut from `train` where the source lacks them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from pipeline.config import DataConfig
from pipeline.sources.source import KEY


@dataclass(frozen=True)
class Slice:
    """A part of a prepared split."""

    builder: Any
    instruction: Any  # tfds.core.ReadInstruction
    count: int

    def read(self) -> tf.data.Dataset:
        """Give the examples in a fixed order.

        Each has `image` (encoded bytes) or `features`, `label`, and as `key` the file or row that
        it came from, as far as the source knows it.
        """
        features = self.builder.info.features
        examples = self.builder.as_dataset(
            split=self.instruction,
            decoders={"image": tfds.decode.SkipDecoding()} if "image" in features else None,
            read_config=tfds.ReadConfig(add_tfds_id=KEY not in features, try_autocache=False),
            shuffle_files=False,
        )
        return examples.map(_with_key, tf.data.AUTOTUNE)

    def part(self, start: int, stop: int) -> "Slice":
        """Give the examples from `start` to before `stop`, counted within this part."""
        (whole,) = self.instruction.to_absolute(self.builder.info.splits)
        first = whole.from_ or 0
        return _slice(self.builder, whole.splitname, (first + start, first + stop))

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
        wanted = tfds.decode.PartialDecoding(dict.fromkeys(names, True))
        examples = self.builder.as_dataset(
            split=self.instruction,
            decoders=wanted,
            read_config=tfds.ReadConfig(try_autocache=False),
            shuffle_files=False,
        )
        rows = list(examples.as_numpy_iterator())
        return {
            name: np.array([_text(features[name], row[name]) for row in rows]) for name in names
        }


def cut_splits(builder: Any, config: DataConfig) -> dict[str, Slice]:
    """Give the three splits, disjoint, and the same ones at every call.

    TFDS stores examples in the order of a hash of their keys, so a contiguous cut is random enough.
    Raises ValueError when the source has no train split, or a part would be empty.
    """
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    if "train" not in sizes:
        raise ValueError(
            f"source {config.source} has the splits {', '.join(sizes)}; one named train is needed"
        )
    fractions = {"test": config.test_fraction, "validation": config.validation_fraction}
    parts, start = {}, 0
    for name, fraction in fractions.items():
        if name in sizes:
            parts[name] = _slice(builder, name, (0, sizes[name]))
        else:
            stop = start + max(1, round(sizes["train"] * fraction))
            parts[name] = _slice(builder, "train", (start, stop))
            start = stop
    parts["train"] = _slice(builder, "train", (start, sizes["train"]))
    if empty := [name for name, part in parts.items() if part.count < 1]:
        raise ValueError(
            f"source {config.source} has too few examples ({sizes}): nothing left for {empty}"
        )
    return parts


def _slice(builder: Any, split: str, bounds: tuple[int, int]) -> Slice:
    start, stop = bounds
    instruction = tfds.core.ReadInstruction(split, from_=start, to=max(start, stop), unit="abs")
    return Slice(builder, instruction, stop - start)


def _with_key(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    name = "image" if "image" in example else "features"
    key = example[KEY] if KEY in example else example["tfds_id"]
    return {name: example[name], "label": example["label"], KEY: key}


def _text(feature: Any, value: Any) -> str:
    if isinstance(feature, tfds.features.ClassLabel):
        return str(feature.int2str(int(value)))
    return value.decode() if isinstance(value, bytes) else str(value)
