"""IDX files, the format of MNIST (LeCun, "The MNIST database") and Fashion-MNIST."""

import math
from pathlib import Path

import numpy as np

from pipeline import compression
from pipeline.sources.arrays import image_array_source
from pipeline.sources.source import Source

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
UNSIGNED_BYTE = 8


def idx(place: str, data_dir: Path) -> Source:
    """Read MNIST's four files from a directory.

    The format has no class names: classes are called by number. Raises ValueError when a file is
    missing, damaged, or does not match its partner.
    """
    folder = Path(place)
    splits = {split: _read_split(folder, *names) for split, names in FILES.items()}
    return image_array_source("idx", splits)


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzip-compressed, as uint8 of its own shape.

    Raises ValueError when it is no such file, or damaged.
    """
    data = compression.read(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != UNSIGNED_BYTE:
        raise ValueError(
            f"{path} is no IDX file of unsigned bytes: it starts with {data[:4].hex()}, not 000008"
        )
    dimensions = data[3]
    start = 4 + 4 * dimensions
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], dtype=">u4"))
    if len(shape) != dimensions or len(data) - start != math.prod(shape):
        raise ValueError(
            f"{path} is damaged: it says {shape} and holds {len(data) - start:,} bytes"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _read_split(folder: Path, images_name: str, labels_name: str) -> dict[str, np.ndarray]:
    images, labels = read_idx(_find(folder, images_name)), read_idx(_find(folder, labels_name))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(labels):
        raise ValueError(
            f"{folder}: {images_name} has shape {images.shape} and {labels_name} {labels.shape}; "
            "expected [N, H, W] images and N labels, N >= 1"
        )
    return {"image": images[..., None], "label": labels}


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ValueError(
        f"source idx: there is no {name} or {name}.gz in {folder}; its four files are needed"
    )
