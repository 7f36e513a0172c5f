"""What a data set holds, example by example: the facts that the data check judges."""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import imagehash
import numpy as np
import tensorflow as tf
from PIL import Image

from pipeline import preprocess
from pipeline.sources.splits import Slice

BATCH = 256


@dataclass(frozen=True)
class Inventory:
    """One row for each example of the three splits. Vectors have no columns about pixels."""

    split: np.ndarray  # str [N]
    key: np.ndarray  # str [N]: the file, or the row of an array
    label: np.ndarray  # int64 [N]
    content: np.ndarray  # bytes [N]: equal for equal tensors
    flaw: np.ndarray  # str [N]: the first value that is no finite number; "" for none
    looks: np.ndarray  # uint64 [N]: difference hash; equal for images that look alike
    side: np.ndarray  # float64 [N]: the shorter side of the original, in pixels
    grey: np.ndarray  # bool [N]: no colour in it
    brightness: np.ndarray  # float64 [N]: mean pixel, 0..255

    @property
    def has_images(self) -> bool:
        """Tell whether the columns about pixels are there."""
        return len(self.looks) == len(self.label)

    def where(self, rows: np.ndarray) -> "Inventory":
        """Give the inventory of some of the rows."""
        columns = vars(self).items()
        chosen = {name: values[rows] if len(values) else values for name, values in columns}
        return Inventory(**chosen)


def take_inventory(slices: dict[str, Slice], shape: tuple[int, ...]) -> Inventory:
    """Read every example once, images at the network's size `shape` (H, W, C) or vectors (D,)."""
    split = np.repeat(list(slices), [part.count for part in slices.values()])
    columns = zip(*_rows(slices, shape), strict=True)
    facts = [np.array(next(columns)) for _ in range(4)]
    pixels = [np.array(column) for column in columns] or [np.empty(0)] * 4
    return Inventory(split, *facts, *pixels)


def pictures(
    slices: dict[str, Slice], shape: tuple[int, ...], keys: set[str]
) -> dict[str, np.ndarray]:
    """Give the images uint8 [H, W, C] of the named examples."""
    found = {}
    for batch in _batches(slices, shape):
        for key, image in zip(batch["key"], batch["tensor"], strict=True):
            if key.decode() in keys:
                found[key.decode()] = image
    return found


def _rows(slices: dict[str, Slice], shape: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    for batch in _batches(slices, shape):
        facts = [batch[name] for name in ("side", "grey", "brightness") if name in batch]
        for key, label, tensor, *pixels in zip(
            batch["key"], batch["label"], batch["tensor"], *facts, strict=True
        ):
            content = hashlib.blake2b(tensor.tobytes(), digest_size=16).hexdigest()
            looks = [_looks(tensor)] if facts else []
            yield key.decode(), int(label), content, _flaw(tensor), *looks, *pixels


def _flaw(tensor: np.ndarray) -> str:
    if tensor.dtype == np.uint8 or np.isfinite(tensor).all():
        return ""
    place = int(np.flatnonzero(~np.isfinite(tensor))[0])
    return f"value {place} is {tensor[place]}"


def _looks(image: np.ndarray) -> np.uint64:
    grey = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.packbits(imagehash.dhash(grey).hash).view(np.uint64)[0]


def _batches(slices: dict[str, Slice], shape: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Read the splits one after the other, as one data set: each would be optimised anew."""
    describe = _image if len(shape) == 3 else _vector
    examples = functools.reduce(
        tf.data.Dataset.concatenate, [part.read() for part in slices.values()]
    )
    facts = examples.map(lambda example: describe(example, shape), tf.data.AUTOTUNE)
    batches: Iterator[dict[str, Any]] = facts.batch(BATCH).prefetch(2).as_numpy_iterator()
    return batches


def _image(example: dict[str, tf.Tensor], shape: tuple[int, ...]) -> dict[str, tf.Tensor]:
    height, width, channels = shape
    colours = preprocess.decode(example["image"], None, 3)
    image = preprocess.resize(preprocess.convert_channels(colours, channels), (height, width))
    return {
        **_identity(example),
        "tensor": image,
        "side": tf.reduce_min(tf.shape(colours)[:2]),
        "grey": tf.reduce_all(colours == colours[..., :1]),
        "brightness": tf.reduce_mean(tf.cast(image, tf.float32)),
    }


def _vector(example: dict[str, tf.Tensor], shape: tuple[int, ...]) -> dict[str, tf.Tensor]:
    return {**_identity(example), "tensor": tf.ensure_shape(example["features"], shape)}


def _identity(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {"key": example["key"], "label": example["label"]}
