"""What a caller passes as images, cut into the tensors of single requests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from serving.tensors import Array

Image = Array | bytes | str | PathLike[str]
Images = Image | Iterable[Image]

MAX_BATCH_BYTES = 16 << 20  # far under the message limit; pixels and files add little on the wire


@dataclass(frozen=True)
class Batch:
    """One request's input: the signature to call, its input's name, and rows along axis 0."""

    signature: str
    input: str
    rows: Array


def batches(images: Images, size: int) -> Iterator[Batch]:
    """Cut images into batches of at most `size` rows and MAX_BATCH_BYTES bytes, in order.

    Takes uint8 pixels [N, H, W, C] or [H, W, C]; float features [N, D] or [D]; encoded images as
    bytes or as paths of files; or any iterable of single ones. Files are read batch by batch.
    Raises ValueError for anything else and OSError for a file that cannot be read.
    """
    if isinstance(images, np.ndarray):
        yield from _slices(_with_batch_axis(images), size)
    elif isinstance(images, bytes | str | PathLike):
        yield _pack([_read(images)])
    else:
        yield from map(_pack, _groups(map(_read, images), size))


def _slices(rows: Array, size: int) -> Iterator[Batch]:
    if not len(rows):
        return
    fitting = max(1, min(size, MAX_BATCH_BYTES // max(1, rows[0].nbytes)))
    for start in range(0, len(rows), fitting):
        yield _batch(rows[start : start + fitting])


def _with_batch_axis(array: Array) -> Array:
    single = array.ndim == (3 if array.dtype == np.uint8 else 1)
    return array[np.newaxis] if single else array


def _batch(rows: Array) -> Batch:
    if rows.dtype == np.uint8 and rows.ndim == 4:
        return Batch("serving_default", "image", rows)
    if rows.dtype.kind == "f" and rows.ndim == 2:
        return Batch("serving_default", "features", rows.astype(np.float32, copy=False))
    raise ValueError(
        f"got an array of {rows.dtype} with {rows.ndim} dimensions. Send uint8 pixels [N, H, W, C] "
        "or [H, W, C] (scaling is inside the model), or float features [N, D]"
    )


def _read(image: Image) -> Array | bytes:
    if isinstance(image, str | PathLike):
        return Path(image).read_bytes()
    if isinstance(image, bytes | np.ndarray):
        return image
    raise ValueError(
        f"got {type(image).__name__!r} as an image. Send a NumPy array, bytes or a path"
    )


def _groups(items: Iterable[Array | bytes], size: int) -> Iterator[list[Array | bytes]]:
    """Neighbours that fit into one tensor: of one kind and shape, few and small enough."""
    group: list[Array | bytes] = []
    weight = 0
    for item in items:
        nbytes = item.nbytes if isinstance(item, np.ndarray) else len(item)
        full = len(group) == size or weight + nbytes > MAX_BATCH_BYTES
        if group and (full or _kind(item) != _kind(group[0])):
            yield group
            group, weight = [], 0
        group.append(item)
        weight += nbytes
    if group:
        yield group


def _kind(item: Array | bytes) -> Any:
    return (item.dtype, item.shape) if isinstance(item, np.ndarray) else bytes


def _pack(group: list[Array | bytes]) -> Batch:
    first = group[0]
    if isinstance(first, np.ndarray):
        return _batch(np.stack([_one(item) for item in group]))
    rows = np.empty(len(group), np.object_)
    rows[:] = group
    return Batch("image_bytes", "image_bytes", rows)


def _one(item: Any) -> Array:
    if item.ndim not in (1, 3):
        raise ValueError(
            f"an image in a list must be [H, W, C] and features [D], got shape {list(item.shape)}"
        )
    return np.asarray(item)
