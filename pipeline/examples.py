"""The decoded examples of each split, kept where the job says."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline import copies, preprocess
from pipeline.cache import CacheFile
from pipeline.config import DataConfig
from pipeline.sources.splits import Slice
from pipeline.standardize import Preparation

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Examples:
    """One split: (uint8 image [H, W, C] or float32 vector [D], int64 label), in a fixed order."""

    dataset: tf.data.Dataset
    shuffle_buffer: int  # examples that can be held at a time, at most as many as the job says


@dataclass(frozen=True)
class Reader:
    """Decodes and caches the splits of one source."""

    config: DataConfig
    digest: str  # of the source's content
    prepare: Preparation
    slices: dict[str, Slice]

    def read(self) -> dict[str, Examples]:
        """Give every split; cached in files, they are decoded here and now, once for all runs."""
        place = self._keep_on_disk if self._belongs_on_disk() else self._keep_in_memory
        return {name: place(name) for name in self.slices}

    def _keep_in_memory(self, name: str) -> Examples:
        return Examples(self._decoded(name).cache(), self.config.shuffle_buffer)

    def _keep_on_disk(self, name: str) -> Examples:
        shape = self._stored_shape(name)
        path = Path(self.config.data_dir) / "decoded" / f"{self._key(name)}.bin"
        copies.hold(path)
        file = CacheFile(path, shape, self.slices[name].count)
        if not file.is_complete():
            file.write(self._decoded(name))
        fitting = max(1, self.config.cache_limit_mb * MEGABYTE // file.record_bytes)
        return Examples(file.read(), min(self.config.shuffle_buffer, fitting))

    def _decoded(self, name: str) -> tf.data.Dataset:
        shape = self._stored_shape(name)

        def decode(example: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            if "image" not in example:
                return tf.ensure_shape(example["features"], shape), example["label"]
            return self.prepare.decode(example["image"], (shape[0], shape[1])), example["label"]

        return self.slices[name].read().map(decode, tf.data.AUTOTUNE)

    def _stored_shape(self, name: str) -> tuple[int, ...]:
        """Give the shape kept: random windows are cut out of larger training images."""
        crop = self.config.augment.random_crop
        if name == "train" and crop is not None:
            return (*crop, self.prepare.shape[-1])
        return self.prepare.shape

    def _belongs_on_disk(self) -> bool:
        if len(self.prepare.shape) == 1:
            return False  # vectors are small, and never decoded
        sizes = [
            np.prod(self._stored_shape(name)) * part.count for name, part in self.slices.items()
        ]
        exceeds = sum(sizes) > self.config.cache_limit_mb * MEGABYTE
        return self.config.cache == "disk" or (self.config.cache == "auto" and bool(exceeds))

    def _key(self, name: str) -> str:
        """Give what decoded pixels depend on, as a file name."""
        part = self.slices[name]
        facts = (self.digest, part.identity, self._stored_shape(name), self.config.resize)
        told = f"{facts} {preprocess.REVISION}"
        return f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
