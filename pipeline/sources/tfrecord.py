"""TFRecord files of tf.Example with an encoded image and a label, as TFX writes them."""

import glob
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from pipeline.sources.examination import Encoded, Examination
from pipeline.sources.source import Examples, Source

GZIP_MAGIC = b"\x1f\x8b"
SPLIT_WORDS = {
    "train": "train",
    "eval": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}


def tfrecord(place: str, data_dir: Path) -> Source:
    """Read the files of globs separated by commas, gzip-compressed or plain.

    A glob may name the split of its files, as in `train=a/*,validation=b/*`; else it is the word
    train, eval, val or test in a file's path (TFX: `Split-train/`), else train. `label` is a class
    number (int64) or a class name (bytes). Raises ValueError when a glob matches no file, or a
    record has no image or label.
    """
    splits: dict[str, list[Path]] = {}
    for part in place.split(","):
        word, _, rest = part.partition("=")
        split = SPLIT_WORDS.get(word)
        for path in _matching(rest if split else part):
            splits.setdefault(split or _split_of(path), []).append(path)
    paths = [path for files in splits.values() for path in files]
    classes = _classes(paths)
    features: dict[str, Any] = {
        "image": tfds.features.Image(shape=(None, None, 3)),
        "label": tfds.features.ClassLabel(names=classes),
    }
    examination = Examination()
    generators = {name: _examples(examination, name, files) for name, files in splits.items()}
    return Source("tfrecord", _digest(splits), features, generators, examination)


def _matching(pattern: str) -> list[Path]:
    paths = sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    if not paths:
        raise ValueError(f"source tfrecord: no file matches {pattern}")
    return paths


def _split_of(path: Path) -> str:
    words = [word for part in path.parts[-2:] for word in part.lower().replace("_", "-").split("-")]
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "train")


def _classes(paths: list[Path]) -> list[str]:
    labels = {label for path in paths for _, label in _records(path)}
    names = sorted(label for label in labels if isinstance(label, str))
    numbers = [label for label in labels if isinstance(label, int)]
    return names or [str(number) for number in range(max(numbers, default=0) + 1)]


def _examples(examination: Examination, split: str, paths: list[Path]) -> Examples:
    return lambda: examination.sound(split, _encoded(paths))


def _encoded(paths: list[Path]) -> Iterator[Encoded]:
    for path in paths:
        for number, (encoded, label) in enumerate(_records(path)):
            key = f"{path.parent.name}/{path.name}:{number}"
            yield Encoded(key, encoded, {"label": str(label)})


def _records(path: Path) -> Iterator[tuple[bytes, int | str]]:
    with path.open("rb") as file:
        compression = "GZIP" if file.read(2) == GZIP_MAGIC else ""
    try:
        for record in tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator():
            yield _parse(record, path)
    except tf.errors.DataLossError:
        raise ValueError(f"source tfrecord: {path} is damaged or no TFRecord file") from None


def _parse(record: bytes, path: Path) -> tuple[bytes, int | str]:
    features = tf.train.Example.FromString(record).features.feature
    images, label = features["image"].bytes_list.value, features["label"]
    numbers, names = label.int64_list.value, label.bytes_list.value
    if len(images) != 1 or len(numbers) + len(names) != 1:
        raise ValueError(
            f"source tfrecord: {path} has an example without one image (bytes) and one label "
            f"(int64 or bytes); it has {', '.join(sorted(features))}"
        )
    return images[0], int(numbers[0]) if numbers else names[0].decode()


def _digest(splits: dict[str, list[Path]]) -> str:
    digest = hashlib.sha256()
    for split, paths in sorted(splits.items()):
        for path in paths:
            digest.update(f"{split} {path.parent.name}/{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
