"""Small real data sets, written by the tests, and a preparation of one that is killed."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.forkserver import ForkServer

STALLED = """
import signal, sys
from pathlib import Path
from pipeline.sources.folder import folder
from pipeline.sources.source import SourceBuilder, prepare
source = folder(sys.argv[1], Path(sys.argv[2]))
examples = source.splits["train"]
def one():
    yield next(examples())
    print("written", file=sys.__stdout__, flush=True)  # TFDS' own words go elsewhere
    signal.pause()
source.splits["train"] = one
prepare(SourceBuilder(source, Path(sys.argv[2])))
"""


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


@pytest.fixture
def stalled(forkserver: ForkServer) -> Callable[[Path, Path], None]:
    """Start to prepare a folder of images in a process, and kill it when it has written one."""

    def kill(folder: Path, data_dir: Path) -> None:
        with forkserver.start("-c", STALLED, str(folder), str(data_dir)) as process:
            assert process.stdout.readline() == "written\n", process.communicate()
            process.kill()
            assert process.wait() == -9

    return kill
