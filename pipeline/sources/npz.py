"""A NumPy archive of images and labels, as Keras ships MNIST: x_train, y_train and the like."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from pipeline.sources.arrays import image_array_source
from pipeline.sources.source import Source, split_named


def npz(place: str, data_dir: Path) -> Source:
    """Read `x_SPLIT` (uint8 [N, H, W] or [N, H, W, C]) and `y_SPLIT` (integers [N]).

    SPLIT is train, val, test or another usual word for one, in any case. Raises ValueError when an
    array is missing, of another type or shape, or for a split that is not known or there twice.
    """
    path = Path(place)
    if not path.is_file():
        raise ValueError(f"source npz: there is no file {place}")
    try:
        with np.load(path) as archive:
            arrays = dict(archive)
    except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as problem:
        raise ValueError(f"source npz: {place} is no NumPy archive: {problem}") from None
    suffixes = _suffixes(place, arrays)
    splits = {
        name: {"image": _images(place, arrays, suffix), "label": _labels(place, arrays, suffix)}
        for name, suffix in suffixes.items()
    }
    return image_array_source("npz", splits)


def _suffixes(place: str, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """Give the ending that each split has in the names of the arrays."""
    found: dict[str, str] = {}
    for suffix in (name[2:] for name in sorted(arrays) if name[:2] == "x_"):
        split = split_named(suffix)
        if split is None or split in found:
            problem = "is no split" if split is None else f"is {split}, as x_{found[split]} is"
            raise ValueError(
                f"source npz: x_{suffix} of {place} {problem}; allowed: one each of "
                f"x_train, x_val and x_test"
            )
        found[split] = suffix
    if "train" not in found:
        raise ValueError(
            f"source npz: {place} has {sorted(arrays)}; x_train and y_train are needed"
        )
    return found


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
    lowest = labels.min() if len(labels) else 0
    if labels.dtype.kind not in "iu" or len(labels) != len(arrays[f"x_{suffix}"]) or lowest < 0:
        raise ValueError(
            f"source npz: y_{suffix} of {place} must hold an integer from 0 for each of the "
            f"{len(arrays[f'x_{suffix}'])} images; it holds {len(labels)} {labels.dtype}, the "
            f"lowest {lowest}"
        )
    return labels.astype(np.int64)
