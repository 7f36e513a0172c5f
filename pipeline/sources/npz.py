"""A NumPy archive of images and labels, as Keras ships MNIST: x_train, y_train and the like."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.sources.arrays import image_array_source
from pipeline.sources.source import Source

SPLIT_NAMES = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def npz(place: str, data_dir: Path) -> Source:
    """Read `x_SPLIT` (uint8 [N, H, W] or [N, H, W, C]) and `y_SPLIT` (integers [N]).

    Raises ValueError when an array is missing or of another type or shape.
    """
    path = Path(place)
    if not path.is_file():
        raise ValueError(f"source npz: there is no file {place}")
    try:
        with np.load(path) as archive:
            arrays = dict(archive)
    except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as problem:
        raise ValueError(f"source npz: {place} is no NumPy archive: {problem}") from None
    splits = {
        name: {"image": _images(place, arrays, suffix), "label": _labels(place, arrays, suffix)}
        for suffix, name in SPLIT_NAMES.items()
        if f"x_{suffix}" in arrays
    }
    if "train" not in splits:
        raise ValueError(
            f"source npz: {place} has {sorted(arrays)}; x_train and y_train are needed"
        )
    return image_array_source("npz", splits)


def _images(place: str, arrays: dict[str, np.ndarray], suffix: str) -> np.ndarray:
    images = arrays[f"x_{suffix}"]
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"source npz: x_{suffix} of {place} is {images.dtype} {list(images.shape)}; "
            "expected uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3]"
        )
    return images


def _labels(place: str, arrays: dict[str, np.ndarray], suffix: str) -> np.ndarray:
    labels = arrays.get(f"y_{suffix}", np.empty(0)).ravel()
    if (
        labels.dtype.kind not in "iu"
        or len(labels) != len(arrays[f"x_{suffix}"])
        or labels.min() < 0
    ):
        raise ValueError(
            f"source npz: y_{suffix} of {place} must hold an integer from 0 for each of the "
            f"{len(arrays[f'x_{suffix}'])} images; it holds {len(labels)} {labels.dtype}"
        )
    return labels.astype(np.int64)
