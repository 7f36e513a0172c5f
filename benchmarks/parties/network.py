"""mnist_cnn as the serving benchmark needs it: exported, and called without any server."""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from serving.store import Store

MODEL = "mnist_cnn"
NAMES = [str(digit) for digit in range(10)]


def images(rows: int) -> Any:
    return np.random.default_rng(7).integers(0, 256, (rows, 28, 28, 1), np.uint8)


def export(directory: Path) -> Path:
    """The digits network with the signature and manifest that the trainer's exports have."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 5, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    if network.count_params() != 225_546:
        raise RuntimeError(f"this is not mnist_cnn: {network.count_params()} parameters")
    labels = tf.constant(NAMES)

    def serve(image: Any) -> dict[str, Any]:
        probabilities = network(tf.cast(image, tf.float32) / 255.0)
        class_id = tf.argmax(probabilities, -1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(labels, class_id),
        }

    archive = keras.export.ExportArchive()
    archive.track(network)
    spec = tf.TensorSpec([None, 28, 28, 1], tf.uint8, name="image")
    archive.add_endpoint("serving_default", serve, [spec])
    archive.write_out(str(directory), verbose=False)
    write_manifest(directory)
    return directory


def write_manifest(directory: Path) -> None:
    files = [path for path in directory.rglob("*") if path.is_file()]
    digests = {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    manifest = directory / "assets.extra" / "manifest.json"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps({"algorithm": "sha256", "files": digests}))


@contextmanager
def raw_model(store: Store) -> Iterator[Callable[[int, float], float]]:
    """A function that gives the median seconds of one call of the bare model."""
    from serving.servable import SavedModel

    model = SavedModel(store.path(MODEL, store.versions(MODEL)[-1]))

    def call(rows: int, seconds: float) -> float:
        inputs = {"image": images(rows)}
        found = []
        end = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < end:
            model.predict("serving_default", inputs)
            found.append(time.perf_counter() - begun)
        return statistics.median(found)

    yield call
    model.close()
