"""Decoded examples, kept so that an image is decoded once: in memory, or in a file beside the data.

The file holds fixed-size records, pixels and label, and is read back sequentially. It is written
under a lock and renamed when it is whole, so that neither a crash nor a second process leaves a
broken one: tf.data's own file cache refuses to start after either.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.lock import locked
from pipeline.whole import replacing

LABEL_BYTES = 8  # one int64
WRITTEN_AT_ONCE = 64  # examples
READ_AT_ONCE = 8 << 20  # bytes
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheFile:
    """Where the decoded images of a split lie on disk, and what it must hold."""

    path: Path
    shape: tuple[int, ...]  # of one image: (H, W, C)
    count: int

    @property
    def record_bytes(self) -> int:
        return int(np.prod(self.shape)) + LABEL_BYTES

    def is_complete(self) -> bool:
        """Tell whether the file is there and has every record."""
        return self.path.exists() and self.path.stat().st_size == self.count * self.record_bytes

    def write(self, examples: tf.data.Dataset) -> None:
        """Write (uint8 image, int64 label) pairs, unless another process does so meanwhile."""
        with locked(self.path.with_suffix(".lock")):
            if self.is_complete():
                return
            log.info("caching %d decoded images in %s", self.count, self.path)
            with replacing(self.path) as file:
                for images, labels in examples.batch(WRITTEN_AT_ONCE).as_numpy_iterator():
                    file.write(_records(images, labels))

    def read(self) -> tf.data.Dataset:
        """Give the pairs in the order in which they were written."""
        records = tf.data.FixedLengthRecordDataset(
            str(self.path), self.record_bytes, buffer_size=READ_AT_ONCE
        )
        return records.map(self._parse, tf.data.AUTOTUNE)

    def _parse(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_raw(record, tf.uint8)[:-LABEL_BYTES]
        label = tf.io.decode_raw(tf.strings.substr(record, -LABEL_BYTES, LABEL_BYTES), tf.int64)
        return tf.reshape(pixels, self.shape), label[0]


def _records(images: np.ndarray, labels: np.ndarray) -> bytes:
    pixels = images.reshape(len(images), -1)
    return np.hstack([pixels, labels.astype("<i8")[:, None].view(np.uint8)]).tobytes()
