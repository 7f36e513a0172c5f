"""One row for each example of a prepared split: where its key falls, its class, its content.

It costs one reading of the split, without decoding, and is kept beside the split.
"""

import hashlib
import io
import logging
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from pipeline.lock import locked
from pipeline.sources.source import KEY
from pipeline.whole import write_whole

ROW = np.dtype([("place", "<u8"), ("label", "<i8"), ("content", "<u8")])
SEQUENTIAL = 1  # files read one after the other, so that rows have numbers
READ_AT_ONCE = 256  # examples
log = logging.getLogger(__name__)


def index(builder: Any, split: str) -> np.ndarray:
    """Give the rows of a prepared split in its order, of type ROW.

    `place` is spread evenly over 0..2^64 and depends on an example's key alone; where the source
    knows no keys (TFDS' own sets), on its content. `content` is equal for equal bytes.
    """
    path = Path(builder.data_dir) / f"index-{split}.npy"
    if path.is_file():
        return _load(path)
    try:
        with locked(path.parent.parent / f".{path.parent.name}.lock"):
            if not path.is_file():
                write_whole(path, _to_bytes(_scan(builder, split)))
        return _load(path)
    except OSError as problem:  # a set that others prepared, and that we may only read
        log.info("%s is not kept: %s", path.name, problem)
        return _scan(builder, split)


def examples(
    builder: Any, instruction: Any, names: tuple[str, ...] | None = None, keyed: bool = True
) -> Any:
    """Give a prepared split's examples in order, images encoded, all or with some features alone.

    `keyed` adds `tfds_id` where the source has no keys of its own.
    """
    features = builder.info.features
    decoders: Any = {"image": tfds.decode.SkipDecoding()} if "image" in features else None
    if names is not None:
        encoded = decoders if "image" in names else None
        decoders = tfds.decode.PartialDecoding(dict.fromkeys(names, True), encoded)
    return builder.as_dataset(
        split=instruction,
        decoders=decoders,
        read_config=tfds.ReadConfig(
            add_tfds_id=keyed and KEY not in features,
            try_autocache=False,
            interleave_cycle_length=SEQUENTIAL,
        ),
        shuffle_files=False,
    )


def _scan(builder: Any, split: str) -> np.ndarray:
    """Read a split through."""
    parts = [np.array(list(_rows(batch)), ROW) for batch in _batches(builder, split)]
    return np.concatenate(parts) if parts else np.empty(0, ROW)


def _batches(builder: Any, split: str) -> Iterator[dict[str, Any]]:
    features = builder.info.features
    inputs = "image" if "image" in features else "features"
    names = tuple(name for name in (inputs, "label", KEY) if name in features)
    found = examples(builder, split, names, keyed=False).batch(READ_AT_ONCE).as_numpy_iterator()
    for batch in found:
        yield {**batch, "inputs": batch[inputs]}


def _rows(batch: dict[str, Any]) -> Iterator[tuple[int, int, int]]:
    contents = [row if isinstance(row, bytes) else row.tobytes() for row in batch["inputs"]]
    keys = [_composed(key) for key in batch[KEY]] if KEY in batch else contents
    for key, label, content in zip(keys, batch["label"], contents, strict=True):
        yield _number(key, b"place"), int(label), _number(content, b"content")


def _composed(key: bytes) -> bytes:
    """Compose what macOS decomposes: a place is the same on every system."""
    return unicodedata.normalize("NFC", key.decode()).encode()


def _number(content: bytes, person: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8, person=person).digest(), "big")


def _to_bytes(rows: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows)
    return buffer.getvalue()


def _load(path: Path) -> np.ndarray:
    rows: np.ndarray = np.load(path)
    return rows
