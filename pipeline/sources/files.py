"""Image files as a source: read whole, decoded once to be sure of them, and kept as they are."""

import hashlib
import io
import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from pipeline import preprocess
from pipeline.sources.source import Examples, Quarantine, Source

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp"}
MOST_PIXELS = 64_000_000  # 8000 x 8000: above what cameras make, far below what fills the memory
CHUNK = 256  # files decoded at a time: bounds what waits in memory
DECODERS = 4


@dataclass(frozen=True)
class ImageFile:
    """One labelled file."""

    path: Path
    key: str  # unique, and what a person is told: the path below the source's root
    label: str
    metadata: Mapping[str, str] = field(default_factory=dict)  # column -> text; evaluation slices


def file_source(name: str, splits: dict[str, list[ImageFile]], classes: list[str]) -> Source:
    """Give a source over files, all with the same columns of metadata.

    Files that do not decode are left out and listed as quarantined.
    """
    columns = next((file.metadata for files in splits.values() for file in files), {})
    features: dict[str, Any] = {
        **{name: tfds.features.Text() for name in columns},
        "image": tfds.features.Image(shape=(None, None, 3)),  # any size; the bytes stay as they are
        "label": tfds.features.ClassLabel(names=classes),
    }
    quarantine: Quarantine = []
    generators = {split: _examples(files, quarantine) for split, files in splits.items()}
    return Source(name, _digest(splits, classes), features, generators, quarantine)


def decoding_problem(encoded: bytes) -> str | None:
    """Say why an image cannot be used; None when it can.

    The size is read before anything is decoded, so a small file of huge dimensions costs nothing.
    """
    return _header_problem(encoded) or _pixel_problem(encoded)


def _header_problem(encoded: bytes) -> str | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is lower
        try:
            with Image.open(io.BytesIO(encoded)) as header:
                width, height = header.size
        except Image.DecompressionBombError as problem:
            return str(problem)
        except (OSError, SyntaxError, ValueError):
            return "no image" if encoded else "empty file"
    too_large = width * height > MOST_PIXELS
    return f"{width}x{height} pixels; at most {MOST_PIXELS:,} are taken" if too_large else None


def _pixel_problem(encoded: bytes) -> str | None:
    try:
        preprocess.decode(tf.constant(encoded), None, 3)
    except tf.errors.InvalidArgumentError as problem:
        return f"does not decode: {problem.message.splitlines()[0][-200:]}"
    return None


def _examples(files: list[ImageFile], quarantine: Quarantine) -> Examples:
    def examples() -> Iterator[tuple[str, dict[str, Any]]]:
        with ThreadPoolExecutor(DECODERS) as pool:
            for file, encoded, problem in _checked(files, pool):
                if problem:
                    quarantine.append({"key": file.key, "reason": problem})
                else:
                    example = {"image": io.BytesIO(encoded), "label": file.label}
                    yield file.key, {**file.metadata, **example}

    return examples


def _checked(
    files: list[ImageFile], pool: ThreadPoolExecutor
) -> Iterator[tuple[ImageFile, bytes, str | None]]:
    for chunk in _chunks(files):
        encoded = [file.path.read_bytes() for file in chunk]
        headers = [_header_problem(data) for data in encoded]
        sound = [data for data, problem in zip(encoded, headers, strict=True) if not problem]
        pixels = pool.map(_pixel_problem, sound)  # TensorFlow decodes without Python's lock
        for file, data, problem in zip(chunk, encoded, headers, strict=True):
            yield file, data, problem or next(pixels)


def _chunks(files: Iterable[ImageFile]) -> Iterator[list[ImageFile]]:
    iterator = iter(files)
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield chunk


def _digest(splits: dict[str, list[ImageFile]], classes: list[str]) -> str:
    digest = hashlib.sha256("\n".join(classes).encode())
    for split, files in sorted(splits.items()):
        for file in files:
            digest.update(
                f"{split}\0{file.label}\0{file.key}\0{file.path.stat().st_size}\n".encode()
            )
            digest.update(file.path.read_bytes())
            if file.metadata:
                digest.update(json.dumps(file.metadata, sort_keys=True).encode())
    return digest.hexdigest()
