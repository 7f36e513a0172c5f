import bz2
import lzma
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pipeline.sources import open_source
from pipeline.sources.idx import read_idx
from tests.support.forkserver import ForkServer


def test_digits_are_all_there_and_stratified(data_dir):
    builder = open_source("digits", data_dir)
    assert (
        builder.info.splits["train"].num_examples + builder.info.splits["test"].num_examples == 1797
    )
    labels = [int(example["label"]) for example in tfds.as_numpy(builder.as_dataset(split="test"))]
    counts = np.bincount(labels)
    assert len(counts) == 10
    assert counts.max() - counts.min() <= 2


def test_iris_has_named_species_and_centimetres(data_dir):
    builder = open_source("iris", data_dir)
    assert builder.info.features["label"].names == ["setosa", "versicolor", "virginica"]
    rows = [example["features"] for example in tfds.as_numpy(builder.as_dataset(split="train"))]
    assert len(rows) == 120
    assert 0 < np.min(rows) < np.max(rows) < 8  # cm


def test_idx_gives_back_the_pixels_of_its_files(idx_dir, data_dir):
    builder = open_source(f"idx:{idx_dir}", data_dir)
    stored = {e["image"].tobytes() for e in tfds.as_numpy(builder.as_dataset(split="train"))}
    images = read_idx(idx_dir / "train-images-idx3-ubyte.gz")
    assert stored == {image.tobytes() for image in images}
    assert builder.info.splits["test"].num_examples == 6


def test_unchanged_content_is_prepared_once_and_changed_content_again(idx_dir, data_dir):
    first = open_source(f"idx:{idx_dir}", data_dir).data_dir
    assert open_source(f"idx:{idx_dir}", data_dir).data_dir == first
    path = idx_dir / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert open_source(f"idx:{idx_dir}", data_dir).data_dir != first


PREPARE = """
import sys
from pathlib import Path
from pipeline.sources import open_source
builder = open_source(sys.argv[1], Path(sys.argv[2]))
print(builder.info.splits["train"].num_examples)
"""


def test_processes_that_prepare_one_source_at_once_all_get_it(
    idx_dir: Path, tmp_path: Path, forkserver: ForkServer
):
    command = ("-c", PREPARE, f"idx:{idx_dir}", str(tmp_path / "fresh"))
    with ExitStack() as stack:
        processes = [stack.enter_context(forkserver.start(*command)) for _ in range(3)]
        outputs = [process.communicate()[0] for process in processes]
    assert outputs == ["20\n"] * 3


def test_what_a_killed_preparation_left_is_removed_by_the_next(
    folder_dir: Path, tmp_path_factory: pytest.TempPathFactory, stalled
):
    place = tmp_path_factory.mktemp("fresh")
    stalled(folder_dir, place)
    assert list(place.rglob("incomplete.*"))
    open_source(f"folder:{folder_dir}", place)
    assert not list(place.rglob("incomplete.*"))


def test_idx_names_the_missing_file(idx_dir, data_dir):
    (idx_dir / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match=r"no t10k-labels-idx1-ubyte or .*\.gz"):
        open_source(f"idx:{idx_dir}", data_dir)


def test_a_truncated_idx_file_is_refused(idx_dir, data_dir):
    path = idx_dir / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"damaged: it says \(6,\) and holds 4 bytes"):
        open_source(f"idx:{idx_dir}", data_dir)


def test_a_file_of_another_format_is_no_idx(idx_dir, data_dir):
    (idx_dir / "t10k-labels-idx1-ubyte").write_bytes(b"text, no idx")
    with pytest.raises(ValueError, match="no IDX file of unsigned bytes: it starts with 74657874"):
        open_source(f"idx:{idx_dir}", data_dir)


@pytest.mark.parametrize(
    ("pack", "name"),
    [
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (lambda content: b"\x28\xb5\x2f\xfd" + content, "zstd"),
        (lambda content: b"PK\x03\x04" + content, "zip"),
    ],
)
def test_a_compression_that_is_not_known_is_named(idx_dir, data_dir, pack, name):
    path = idx_dir / "t10k-labels-idx1-ubyte"
    path.write_bytes(pack(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path} is compressed by {name}; expected gzip, or no"):
        open_source(f"idx:{idx_dir}", data_dir)
    with pytest.raises(ValueError, match=f"{path} is compressed by {name}; expected gzip, or no"):
        open_source(f"tfrecord:{path}", data_dir)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: raw[:20] + b"#" + raw[21:]])
def test_a_damaged_gzip_file_is_named(idx_dir, data_dir, damage):
    path = idx_dir / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path} is damaged: as gzip, "):
        open_source(f"idx:{idx_dir}", data_dir)


def test_folder_keeps_files_as_they_are(folder_dir, data_dir):
    builder = open_source(f"folder:{folder_dir}", data_dir)
    raw = builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    stored = {example["image"] for example in tfds.as_numpy(raw)}
    assert stored == {path.read_bytes() for path in folder_dir.glob("*/*")}
    assert builder.info.features["label"].names == ["cat", "dog"]


def test_folder_reads_a_level_of_splits(folder_dir, tmp_path_factory, data_dir):
    root = tmp_path_factory.mktemp("split")
    for split in ("train", "val", "test"):
        (root / split).mkdir()
    for path in folder_dir.glob("*/*"):
        split = {0: "val", 1: "test"}.get(int(path.stem), "train")
        target = root / split / path.parent.name
        target.mkdir(exist_ok=True)
        path.rename(target / path.name)
    splits = open_source(f"folder:{root}", data_dir).info.splits
    assert {name: split.num_examples for name, split in splits.items()} == {
        "train": 16,
        "validation": 2,
        "test": 2,
    }


def test_an_empty_folder_is_refused(tmp_path, data_dir):
    with pytest.raises(ValueError, match=r"at least 2 classes, .* has 0 \(none\)"):
        open_source(f"folder:{tmp_path}", data_dir)


def test_one_class_is_refused(tmp_path, data_dir):
    write_image(tmp_path / "only" / "a.png")
    with pytest.raises(ValueError, match=r"at least 2 classes, .* has 1 \(only\)"):
        open_source(f"folder:{tmp_path}", data_dir)


def test_a_class_without_images_is_named(folder_dir, data_dir):
    (folder_dir / "fish").mkdir()
    with pytest.raises(ValueError, match="no image in class fish"):
        open_source(f"folder:{folder_dir}", data_dir)


def test_a_class_that_only_the_test_split_has_is_refused(tmp_path, data_dir):
    for place in ("train/a", "train/b", "test/a", "test/c"):
        write_image(tmp_path / place / "0.png")
    with pytest.raises(ValueError, match="test has classes that train lacks: c"):
        open_source(f"folder:{tmp_path}", data_dir)


def test_tfds_sets_are_taken_by_name(data_dir):
    with tfds.testing.mock_data(num_examples=12):
        builder = open_source("tfds:mnist", data_dir)
    assert builder.info.features["label"].num_classes == 10


def test_an_unknown_tfds_set_is_named(data_dir):
    with pytest.raises(ValueError, match="source tfds: .*no_such_set"):
        open_source("tfds:no_such_set", data_dir)


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
