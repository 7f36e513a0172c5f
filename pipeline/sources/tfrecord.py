"""TFRecord files of tf.Example with an encoded image, or features, and a label, as in TFX."""

import glob
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from google.protobuf.message import DecodeError

from pipeline import compression
from pipeline.labels import normal
from pipeline.sources.arrays import numbered
from pipeline.sources.examination import Encoded, Examination
from pipeline.sources.source import Examples, Source, split_named

KEY = "convoy_key"
NAME = "label_name"


@dataclass(frozen=True)
class Record:
    """One labelled example."""

    inputs: dict[str, Any]  # `image`, encoded, or `features`, float32 [D]
    number: int | None  # of the class
    name: str | None  # of the class
    key: str | None = None  # that it had in the source it was written from

    @property
    def label(self) -> int | str | None:
        """The class as a prepared example has it: by name, whatever number its file gives it."""
        return self.number if self.name is None else self.name


def tfrecord(place: str, data_dir: Path) -> Source:
    """Read the files of globs separated by commas, gzip-compressed or plain.

    A glob may name the split of its files, as in `train=a/*,validation=b/*`; else it is the word
    train, eval, val or test in a file's path (TFX: `Split-train/`), else train. `label` is a class
    number (int64) or a class name (bytes); `label_name` names a number's class, which then goes by
    that name, and `convoy_key` tells an example's key, which decides on its place in the order.
    Raises ValueError when a glob matches no file, a record has neither image nor features or no
    label, or some records name their class in one way and some in another.
    """
    splits: dict[str, list[Path]] = {}
    for part in place.split(","):
        word, equals, rest = part.partition("=")
        split = split_named(word) if equals else None
        for path in _matching(rest if split else part):
            splits.setdefault(split or _split_of(path), []).append(path)
    paths = [path for files in splits.values() for path in files]
    inputs = _inputs(paths)
    features = {**inputs, "label": tfds.features.ClassLabel(names=_classes(paths))}
    if "features" in inputs:
        vectors = {name: _vectors(files) for name, files in splits.items()}
        return Source("tfrecord", _digest(splits), features, vectors)
    examination = Examination()
    images = {name: _images(examination, name, files) for name, files in splits.items()}
    return Source("tfrecord", _digest(splits), features, images, examination)


def encode(inputs: dict[str, Any], number: int, name: str, texts: dict[str, str]) -> bytes:
    """Give a record that this source reads; `texts` are further features, `convoy_key` one."""
    feature = {
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number])),
        **{key: _bytes_feature(text.encode()) for key, text in {**texts, NAME: name}.items()},
    }
    if "image" in inputs:
        feature["image"] = _bytes_feature(inputs["image"])
    else:
        values = tf.train.FloatList(value=inputs["features"])
        feature["features"] = tf.train.Feature(float_list=values)
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _matching(pattern: str) -> list[Path]:
    paths = sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    if not paths:
        raise ValueError(f"source tfrecord: no file matches {pattern}")
    return paths


def _split_of(path: Path) -> str:
    words = [word for part in path.parts[:-3:-1] for word in re.split(r"[-_.]", part)]
    return next((split for word in words if (split := split_named(word))), "train")


def _inputs(paths: list[Path]) -> dict[str, Any]:
    first = next((record for path in paths for record in _records(path)), None)
    if first is not None and "features" in first.inputs:
        shape = (len(first.inputs["features"]),)
        return {"features": tfds.features.Tensor(shape=shape, dtype=np.float32)}
    return {"image": tfds.features.Image(shape=(None, None, 3))}


def _classes(paths: list[Path]) -> list[str]:
    """Give the names of the classes, in the order of their numbers where all files agree on these.

    Raises ValueError when records are labelled in more than one way.
    """
    ways: dict[str, Path] = {}  # of labelling -> a file that has it
    found: dict[tuple[int | None, str | None], None] = {}
    for path in paths:
        for record in _records(path):
            ways.setdefault(_way(record), path)
            found[record.number, record.name] = None
    if len(ways) > 1:
        told = ", ".join(f"{path} {way}" for way, path in ways.items())
        raise ValueError(
            f"source tfrecord: records must be labelled in one way, and {told}; write the class's "
            f"name into `{NAME}` of all, or into `label`"
        )
    numbers = {number for number, name in found if number is not None}
    names = {name for number, name in found if name is not None}
    if not names:
        return numbered(max(numbers, default=0), "source tfrecord")
    if len(found) == len(names) == len(numbers):
        named = {name: number for number, name in found if name is not None}
        return sorted(names, key=lambda name: named[name] or 0)
    return sorted(names)


def _way(record: Record) -> str:
    if record.number is None:
        return "by name (bytes)"
    return "by number alone" if record.name is None else "by number and name"


def _vectors(paths: list[Path]) -> Examples:
    return lambda: ((key, {**r.inputs, "label": r.label}) for key, r in _keyed(paths))


def _images(examination: Examination, split: str, paths: list[Path]) -> Examples:
    def encoded() -> Iterator[Encoded]:
        for key, record in _keyed(paths):
            yield Encoded(key, record.inputs.get("image", b""), {"label": record.label})

    return lambda: examination.sound(split, encoded())


def _keyed(paths: list[Path]) -> Iterator[tuple[str, Record]]:
    for path in paths:
        for number, record in enumerate(_records(path)):
            yield record.key or f"{Path(path.parent.name) / path.name}:{number}", record


def _records(path: Path) -> Iterator[Record]:
    packing = "GZIP" if compression.is_gzip(path) else ""
    try:
        for record in tf.data.TFRecordDataset(str(path), packing).as_numpy_iterator():
            yield _parse(record, path)
    except tf.errors.DataLossError:
        raise ValueError(f"source tfrecord: {path} is damaged or no TFRecord file") from None


def _parse(record: bytes, path: Path) -> Record:
    try:
        features = tf.train.Example.FromString(record).features.feature
    except DecodeError:
        raise ValueError(f"source tfrecord: {path} has a record that is no tf.Example") from None
    present = sorted(features)  # before the lookups below add to it
    images, vector = features["image"].bytes_list.value, features["features"].float_list.value
    numbers, names = features["label"].int64_list.value, features["label"].bytes_list.value
    if (len(images) != 1 and not vector) or len(numbers) + len(names) != 1:
        raise ValueError(
            f"source tfrecord: {path} has an example without one image (bytes) or features "
            f"(floats) and one label (int64 or bytes); it has {', '.join(present)}"
        )
    inputs = {"image": images[0]} if images else {"features": np.array(vector, np.float32)}
    number = int(numbers[0]) if numbers else None
    if number is not None and number < 0:
        raise ValueError(
            f"source tfrecord: {path} has an example with the label {number}, which is no class: "
            "classes are numbered from 0"
        )
    name = _text(features, NAME if numbers else "label", path)
    named = None if name is None else normal(name, f"source tfrecord: {path}")
    return Record(inputs, number, named, _text(features, KEY, path))


def _text(features: Any, name: str, path: Path) -> str | None:
    values = features[name].bytes_list.value if name in features else ()
    try:
        return values[0].decode() if values else None
    except UnicodeDecodeError:
        raise ValueError(f"source tfrecord: {name} in {path} is no text in UTF-8") from None


def _bytes_feature(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _digest(splits: dict[str, list[Path]]) -> str:
    digest = hashlib.sha256()
    for split, paths in sorted(splits.items()):
        for path in paths:
            digest.update(f"{split} {path.parent.name}/{path.name}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
