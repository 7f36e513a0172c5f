import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline import DataConfig, load
from pipeline.cache import CacheFile
from pipeline.dataset import Splits, open_data
from pipeline.examples import Reader
from pipeline.standardize import Preparation
from tests.support.forkserver import ForkServer

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 3, 4, 3), dtype=np.uint8)
LABELS = np.arange(70, dtype=np.int64) - 5

STALLING_WRITER = """
import signal, sys
import tensorflow as tf
from pathlib import Path
from pipeline.cache import CacheFile
def examples():
    for number in range(70):
        if number == 65:
            print("stalled", flush=True)
            signal.pause()
        yield tf.zeros((3, 4, 3), tf.uint8), number
spec = tf.TensorSpec((3, 4, 3), tf.uint8), tf.TensorSpec((), tf.int64)
CacheFile(Path(sys.argv[1]), (3, 4, 3), 70).write(
    tf.data.Dataset.from_generator(examples, output_signature=spec)
)
"""


def cache_file(directory: Path) -> CacheFile:
    return CacheFile(directory / "decoded" / "train.bin", (3, 4, 3), 70)


def examples() -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))


def digits(data_dir: Path, **settings) -> DataConfig:
    return DataConfig(source="digits", data_dir=str(data_dir), channels=1, **settings)


def test_what_was_written_is_read_in_the_same_order(tmp_path):
    file = cache_file(tmp_path)
    assert not file.is_complete()
    file.write(examples())
    images, labels = next(iter(file.read().batch(100)))
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)
    assert images.shape[1:] == (3, 4, 3)


def test_a_writer_that_is_killed_leaves_nothing_that_is_taken_for_a_cache(
    tmp_path: Path, forkserver: ForkServer
):
    file = cache_file(tmp_path)
    with forkserver.start("-c", STALLING_WRITER, str(file.path)) as writer:
        assert writer.stdout.readline() == "stalled\n", writer.communicate()
    assert not file.is_complete()
    file.write(examples())  # the lock died with its holder
    assert file.is_complete()
    assert np.array_equal(next(iter(file.read().batch(100)))[0], IMAGES)


def test_a_cut_off_file_is_written_anew(tmp_path):
    file = cache_file(tmp_path)
    file.write(examples())
    os.truncate(file.path, file.record_bytes * 69)
    assert not file.is_complete()
    file.write(examples())
    assert len(list(file.read())) == 70


@pytest.fixture(scope="module")
def reference(data_dir: Path) -> Splits:
    return load(digits(data_dir, shuffle_buffer=500), 50)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_batches_are_the_same_wherever_they_are_kept(reference: Splits, data_dir: Path, cache: str):
    data = load(digits(data_dir, shuffle_buffer=500, cache=cache), 50)
    for split in ("validation", "test"):
        pairs = zip(getattr(reference, split), getattr(data, split), strict=True)
        assert all(np.array_equal(one[0], other[0]) for one, other in pairs)
    pairs = zip(reference.train_epochs(1).take(3), data.train_epochs(1).take(3), strict=True)
    assert all(np.array_equal(one[0], other[0]) for one, other in pairs)


def read(config: DataConfig) -> None:
    """Have the decoded examples kept where the job says, and assemble no batches of them."""
    data = open_data(config)
    prepare = Preparation(data.info.shape, "unit", config.resize, config.augment)
    Reader(config, data.info.digest, prepare, data.slices).read()


def test_what_exceeds_the_limit_goes_to_disk_and_is_found_there_again(
    idx_dir: Path, tmp_path: Path
):
    config = DataConfig(
        source=f"idx:{idx_dir}", data_dir=str(tmp_path), channels=1, cache_limit_mb=1
    )
    read(config)
    assert not (tmp_path / "decoded").exists()  # 26 images of 20 bytes
    large = config.model_copy(update={"image_size": (256, 256)})
    read(large)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "decoded").glob("*.bin")}
    assert len(files) == 3
    read(large)
    assert files == {path: path.stat().st_mtime_ns for path in files}
    read(large.model_copy(update={"resize": "nearest"}))
    assert len(list((tmp_path / "decoded").glob("*.bin"))) == 6  # other pixels, other files
