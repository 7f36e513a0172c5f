"""The train.

Validation and test parts of a prepared source, cut from `train` where the source lacks them.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow_datasets as tfds

from pipeline.config import DataConfig


@dataclass(frozen=True)
class Slice:
    """A part of a prepared split."""

    instruction: Any  # tfds.core.ReadInstruction
    count: int


def cut_splits(builder: Any, config: DataConfig) -> dict[str, Slice]:
    """Give the three splits, disjoint, and the same ones at every call.

    TFDS stores examples in the order of a hash of their keys, so a contiguous cut is a random
    sample. Raises ValueError when the source has no train split, or a part would be empty.
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
            parts[name] = _slice(name, 0, sizes[name])
        else:
            stop = start + max(1, round(sizes["train"] * fraction))
            parts[name] = _slice("train", start, stop)
            start = stop
    parts["train"] = _slice("train", start, sizes["train"])
    if empty := [name for name, part in parts.items() if part.count < 1]:
        raise ValueError(
            f"source {config.source} has too few examples ({sizes}): nothing left for {empty}"
        )
    return parts


def _slice(split: str, start: int, stop: int) -> Slice:
    instruction = tfds.core.ReadInstruction(split, from_=start, to=max(start, stop), unit="abs")
    return Slice(instruction, stop - start)
