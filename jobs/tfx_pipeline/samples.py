"""Golden images of a model that a Trainer has exported, from examples of the test split."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from jobs.golden import COUNT, Golden


def golden_of(export: Path, pattern: str) -> Golden:
    """Ask a SavedModel, loaded into this process, about examples spread evenly over the records."""
    records = list(tf.data.TFRecordDataset(tf.io.gfile.glob(pattern), "GZIP").as_numpy_iterator())
    rows = np.linspace(0, len(records) - 1, min(len(records), COUNT)).astype(int)
    chosen = [records[row] for row in sorted(set(rows.tolist()))]
    answer = tf.saved_model.load(str(export)).signatures["tf_example"]
    probabilities = answer(examples=tf.constant(chosen))["probabilities"].numpy()
    features = [tf.train.Example.FromString(record).features.feature for record in chosen]
    return Golden(_requests(features), probabilities)


def _requests(features: list[Any]) -> dict[str, tuple[str, np.ndarray]]:
    if "image" not in features[0]:
        vectors = [feature["features"].float_list.value for feature in features]
        return {"serving_default": ("features", np.array(vectors, np.float32))}
    files = np.empty(len(features), object)
    files[:] = [feature["image"].bytes_list.value[0] for feature in features]
    return {"image_bytes": ("image_bytes", files)}
