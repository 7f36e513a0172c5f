"""Classes keep their identity: the same name for the same examples, from every source."""

import io
import logging
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import DataConfig
from pipeline.dataset import SourceData, open_data

COLOURS = {"ant": 20, "bee": 90, "cat": 160, "dog": 230}


def picture(label: str, number: int) -> bytes:
    """A picture whose red says its class."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (COLOURS[label], number, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, count: int = 12, labels=tuple(COLOURS)) -> Path:
    for label in labels:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / label / f"{number}.png").write_bytes(picture(label, number))
    return root


def record(image: bytes, label: int | str, name: str | None = None) -> bytes:
    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    feature = {"image": text(image)}
    if isinstance(label, str):
        feature["label"] = text(label.encode())
    else:
        feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    if name is not None:
        feature["label_name"] = text(name.encode())
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString()


def shard(path: Path, *records: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in records:
            writer.write(one)


def opened(source: str, data_dir: Path, **more) -> SourceData:
    return open_data(DataConfig(source=source, data_dir=str(data_dir), image_size=(4, 4), **more))


def names_of(data: SourceData) -> dict[int, set[str]]:
    """Give the class names that pictures of each red have."""
    found: dict[int, set[str]] = {}
    for part in data.slices.values():
        for example in part.read().as_numpy_iterator():
            red = int(tf.io.decode_png(example["image"])[0, 0, 0])
            found.setdefault(red, set()).add(data.info.class_names[example["label"]])
    return found


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same four classes in every source that names them."""
    root = tmp_path_factory.mktemp("four")
    write(root / "d")
    rows = [f"d/{c}/{n}.png,{c}" for c in COLOURS for n in range(12)]
    (root / "m.csv").write_text("\n".join(["path,label", *rows]))
    reds = [(c, i, picture(c, n)) for i, c in enumerate(COLOURS) for n in range(12)]
    shard(root / "r" / "named", *(record(image, number, c) for c, number, image in reds))
    shard(root / "r" / "texts", *(record(image, c) for c, _, image in reds))
    return {
        "folder": f"folder:{root / 'd'}",
        "csv": f"csv:{root / 'm.csv'}",
        "numbers and names": f"tfrecord:{root / 'r' / 'named'}",
        "names": f"tfrecord:{root / 'r' / 'texts'}",
    }


@settings(max_examples=3, deadline=None)
@given(st.sets(st.sampled_from(sorted(COLOURS)), min_size=2).flatmap(
    lambda chosen: st.permutations(sorted(chosen))))  # fmt: skip
@pytest.mark.parametrize("kind", ["folder", "csv", "numbers and names", "names"])
def test_class_names_select_and_order_and_never_rename(sources, data_dir, kind, chosen):
    data = opened(sources[kind], data_dir, class_names=tuple(chosen))
    assert data.info.class_names == tuple(chosen)
    assert names_of(data) == {COLOURS[name]: {name} for name in chosen}
    assert sum(data.info.counts.values()) == 12 * len(chosen)


@pytest.mark.parametrize("kind", ["folder", "csv", "numbers and names", "names"])
def test_other_names_are_refused(sources, data_dir, kind):
    with pytest.raises(ValueError, match="has no class wasp; it selects and orders"):
        opened(sources[kind], data_dir, class_names=("ant", "bee", "cat", "wasp"))


def test_arrays_are_named_by_number_and_selected_by_name(tmp_path, data_dir):
    labels = np.arange(40) % 4
    images = np.zeros((40, 4, 4, 3), np.uint8)
    images[..., 0] = np.array(list(COLOURS.values()))[labels][:, None, None]
    np.savez(tmp_path / "m.npz", x_train=images, y_train=labels)
    source = f"npz:{tmp_path / 'm.npz'}"
    named = opened(source, data_dir, class_names=tuple(COLOURS))
    assert names_of(named) == {red: {name} for name, red in COLOURS.items()}
    chosen = opened(source, data_dir, class_names=("3", "1"))
    assert names_of(chosen) == {230: {"3"}, 90: {"1"}}


def tfds_set(place: Path, feature: tfds.features.ClassLabel, splits: dict[str, list[int]]) -> str:
    """Store pictures with these labels as a set that TFDS reads."""
    image = tfds.features.Image(shape=(4, 4, 3))
    rows = {
        split: [
            (n, {"image": np.full((4, 4, 3), n, np.uint8), "label": label})
            for n, label in enumerate(labels)
        ]
        for split, labels in splits.items()
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="stored",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"image": image, "label": feature}),
        split_datasets=rows,
        data_dir=place,
    )
    return "tfds:stored"


def test_sets_of_tfds_without_names_are_named_and_selected(tmp_path):
    numbers = tfds.features.ClassLabel(num_classes=3)
    source = tfds_set(tmp_path, numbers, {"train": [n % 3 for n in range(30)]})
    named = opened(source, tmp_path, class_names=("ant", "bee", "cat"))
    assert named.info.class_names == ("ant", "bee", "cat")
    chosen = opened(source, tmp_path, class_names=("2", "0"))
    assert sum(chosen.info.counts.values()) == 20
    for example in chosen.slices["train"].read().as_numpy_iterator():
        grey = int(tf.io.decode_png(example["image"])[0, 0, 0])
        assert chosen.info.class_names[example["label"]] == str(grey % 3)


def test_shards_that_number_classes_differently_go_by_names(tmp_path, data_dir):
    def numbered(names: tuple[str, ...]) -> list[bytes]:
        return [record(picture(c, n), i, c) for i, c in enumerate(names) for n in range(8)]

    shard(tmp_path / "r" / "old", *numbered(("cat", "dog")))
    shard(tmp_path / "r" / "new", *numbered(("ant", "bee", "cat")))
    data = opened(f"tfrecord:{tmp_path}/r/*", data_dir)
    assert data.info.class_names == ("ant", "bee", "cat", "dog")
    assert names_of(data) == {red: {name} for name, red in COLOURS.items()}


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([(0, "cat"), (1, None)], "by number and name, .*by number alone"),
        ([(0, None), ("cat", None)], "by number alone, .*by name"),
        ([(-1, None), (1, None)], "has an example with the label -1"),
        ([(1 << 40, None), (1, None)], "1099511627776 is no class number; allowed: 0 to"),
        ([("cat", None), ("cat ", None)], "has one class, cat"),
        ([(0, "cat\ndog"), (1, "b")], "line break"),
    ],
)
def test_records_that_do_not_tell_their_class_are_refused(tmp_path, data_dir, records, problem):
    for number, (label, name) in enumerate(records):
        shard(tmp_path / "r" / str(number), record(picture("ant", number), label, name))
    with pytest.raises(ValueError, match=problem) as raised:
        opened(f"tfrecord:{tmp_path}/r/*", data_dir)
    assert "\n" not in str(raised.value)


def test_splits_of_tfds_are_found_by_any_usual_word_and_joined(tmp_path):
    feature = tfds.features.ClassLabel(names=["cat", "dog"])
    splits = {"training": [0, 1] * 8, "val": [0, 1] * 2, "eval": [1, 0], "Test": [0, 1] * 3}
    data = opened(tfds_set(tmp_path, feature, splits), tmp_path)
    assert data.info.counts == {"train": 16, "validation": 6, "test": 6}
    assert len(list(data.slices["validation"].read().as_numpy_iterator())) == 6
    part = data.slices["validation"].part(3, 5)
    assert len(list(part.read().as_numpy_iterator())) == part.count == 2


def test_labels_below_zero_of_tfds_are_refused(tmp_path):
    """TFDS marks hidden labels so, and takes them without a word."""
    feature = tfds.features.ClassLabel(names=["cat", "dog"])
    source = tfds_set(tmp_path, feature, {"train": [n % 3 - 1 for n in range(12)]})
    with pytest.raises(ValueError, match="4 of 12 examples of its split train have no label of 0"):
        opened(source, tmp_path)


def test_spellings_of_a_name_are_one_class_in_csv_and_folder(tmp_path, data_dir):
    decomposed = unicodedata.normalize("NFD", "고양이")
    lines = ["path,label"]
    for number, label in enumerate(("고양이", decomposed, " 고양이 ", "개") * 4):
        path = tmp_path / "d" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture("ant", number))
        lines.append(f'"d/{label}/{number}.png","{label}"')
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    for source in (f"folder:{tmp_path / 'd'}", f"csv:{tmp_path / 'm.csv'}"):
        assert opened(source, data_dir).info.class_names == ("개", "고양이")


def test_a_class_with_a_line_break_is_refused(tmp_path, data_dir):
    write(tmp_path, 2, ("ant",))
    (tmp_path / "a\nb").mkdir()
    with pytest.raises(ValueError, match="line break"):
        opened(f"folder:{tmp_path}", data_dir)


@pytest.mark.parametrize(
    ("train", "validation"), [("TRAIN", "Val"), ("training", "valid"), ("Train", "eval")]
)
def test_splits_are_called_the_same_in_every_source(tmp_path, data_dir, train, validation):
    write(tmp_path / "d" / train, 6, ("ant", "bee"))
    write(tmp_path / "d" / validation, 3, ("ant", "bee"))
    (tmp_path / "d" / "docs" / "pictures").mkdir(parents=True)  # no class
    rows = [f"d/{train}/{c}/{n}.png,{c},{train}" for c in ("ant", "bee") for n in range(6)]
    rows += [f"d/{validation}/{c}/{n}.png,{c},{validation}" for c in ("ant", "bee") for n in (0, 1)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label,split", *rows]))
    images, labels = np.zeros((6, 4, 4), np.uint8), np.arange(6, dtype=np.uint8) % 2
    arrays: dict[str, Any] = {f"x_{split}": images for split in (train, validation)}
    arrays |= {f"y_{split}": labels for split in (train, validation)}
    np.savez(tmp_path / "m.npz", **arrays)
    expected = {"folder:d": 6, "csv:m.csv": 4, "npz:m.npz": 6}
    for source, count in expected.items():
        kind, _, name = source.partition(":")
        data = opened(f"{kind}:{tmp_path / name}", data_dir)
        assert data.info.counts["validation"] == count
        assert data.info.num_classes == 2


def test_two_directories_of_one_split_are_joined(tmp_path, data_dir):
    for split in ("train", "val", "validation"):
        write(tmp_path / split, 5, ("ant", "bee"))
    counts = opened(f"folder:{tmp_path}", data_dir).info.counts
    assert counts["validation"] == 20
    assert counts["train"] + counts["test"] == 10


def test_classes_may_be_called_like_splits(tmp_path, data_dir):
    for label, like in (("train", "ant"), ("car", "bee")):
        (tmp_path / label).mkdir()
        for number in range(6):
            (tmp_path / label / f"{number}.png").write_bytes(picture(like, number))
    assert opened(f"folder:{tmp_path}", data_dir).info.class_names == ("car", "train")


def test_a_file_listed_twice_is_two_examples_of_one_split(tmp_path, data_dir, caplog):
    write(tmp_path / "d", 12, ("ant", "bee"))
    rows = [f"d/{c}/{n}.png,{c}" for c in ("ant", "bee") for n in range(12)]
    (tmp_path / "m.csv").write_text("\n".join(["path,label", *rows, rows[0], "d/ant/1.png,bee"]))
    with caplog.at_level(logging.WARNING):
        data = opened(f"csv:{tmp_path / 'm.csv'}", data_dir)
    assert "d/ant/0.png in lines 2, 26; d/ant/1.png in lines 3, 27" in caplog.text
    assert sum(data.info.counts.values()) == 26
    places: dict[bytes, set[str]] = {}
    for part, found in data.slices.items():
        for example in found.read().as_numpy_iterator():
            places.setdefault(example["key"], set()).add(part)
    assert all(len(parts) == 1 for parts in places.values())
