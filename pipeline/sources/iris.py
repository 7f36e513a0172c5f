"""Fisher's iris (1936), by scikit-learn: 150 flowers of three species, 4 measurements in cm."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_iris

from pipeline.sources.arrays import stratified
from pipeline.sources.source import Source

TEST_SHARE = 0.2


def iris() -> Source:
    """Give the measurements as float32 vectors, and a fixed stratified test split."""
    data = load_iris()
    features: dict[str, Any] = {
        "features": tfds.features.Tensor(shape=(4,), dtype=np.float32),
        "label": tfds.features.ClassLabel(names=[str(name) for name in data.target_names]),
    }
    vectors = {"features": data.data.astype(np.float32)}
    return stratified("iris", features, vectors, data.target, TEST_SHARE)
