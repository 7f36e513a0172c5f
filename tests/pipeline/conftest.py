"""Small real data sets, written by the tests."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write uint8 values in MNIST's format, gzip-compressed when the name says so."""
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    data = head + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def idx_dir(tmp_path: Path) -> Path:
    """Four IDX files: 20 training and 6 test images of 5x4 pixels, three classes."""
    random = np.random.default_rng(0)
    for prefix, count in (("train", 20), ("t10k", 6)):
        images = random.integers(0, 256, (count, 5, 4), dtype=np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 3)
    return tmp_path


@pytest.fixture
def folder_dir(tmp_path: Path) -> Path:
    """Two classes of ten RGB images each, of differing sizes, as PNG and JPEG."""
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(10):
            pixels = random.integers(0, 256, (8 + number, 9, 3), dtype=np.uint8)
            suffix = ".png" if number % 2 else ".jpg"
            Image.fromarray(pixels).save(tmp_path / label / f"{number}{suffix}")
    return tmp_path
