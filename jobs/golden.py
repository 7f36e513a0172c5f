"""Golden images: a few test images with the trainer's own answers, to hold servers against."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.dataset import Splits
from pipeline.whole import replacing
from serving.client import Client

COUNT = 32  # enough for a wrong scaling, channel order or class order to show
LIMIT = 1e-4  # of a probability; rounding in another order of operations stays below 1e-5


@dataclass(frozen=True)
class Golden:
    """Rows of the test split as clients send them, and the probabilities that are right."""

    requests: dict[str, tuple[str, np.ndarray]]  # signature -> (input, rows [N, ...])
    probabilities: np.ndarray  # float32 [N, K]

    def gap(self, client: Client, model: str, version: int) -> float:
        """Ask a server through every signature, and give the largest difference.

        Raises CallError when it does not answer; answers of another shape are infinitely far off.
        """
        gaps = [0.0]
        for signature, (name, rows) in self.requests.items():
            answer = client.infer({name: rows}, model=model, version=version, signature=signature)
            found = answer.get("probabilities", np.empty(0))
            if found.shape != self.probabilities.shape or not np.isfinite(found).all():
                return float("inf")
            gaps.append(float(np.abs(found - self.probabilities).max()))
        return max(gaps)

    def save(self, path: Path) -> None:
        """Write them beside the model that they are for."""
        arrays = {"probabilities": self.probabilities}
        for signature, (name, rows) in self.requests.items():
            key = f"{signature}/{name}"
            if rows.dtype == object:  # files of different lengths
                arrays[f"{key}/lengths"] = np.array([len(row) for row in rows])
                rows = np.frombuffer(b"".join(rows), np.uint8)
            arrays[key] = rows
        with replacing(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub reads ** as its flags


def load(path: Path) -> Golden:
    """Read what `save` wrote."""
    with np.load(path) as archive:
        arrays = dict(archive)
    requests = {}
    for key, rows in arrays.items():
        signature, _, name = key.partition("/")
        if name and not name.endswith("/lengths"):
            lengths = arrays.get(f"{key}/lengths")
            requests[signature] = (name, rows if lengths is None else _files(rows, lengths))
    return Golden(requests, arrays["probabilities"])


def choose(model: keras.Model, data: Splits) -> Golden:
    """Take rows spread evenly over the test split, and ask the network about them on the CPU.

    On an accelerator its answers would carry the rounding of shorter number formats.
    """
    total = data.info.counts["test"]
    rows = set(np.linspace(0, total - 1, min(total, COUNT)).astype(int).tolist())
    inputs = _rows(data.test.unbatch().map(lambda inputs, labels: inputs), rows)
    with tf.device("/CPU:0"):
        probabilities = model(np.stack(inputs), training=False).numpy()
    name = "image" if data.info.is_image else "features"
    examples = data.source.slices["test"].read().map(lambda example: example[name])
    sent = _rows(examples, rows)
    if not data.info.is_image:
        return Golden({"serving_default": ("features", np.stack(sent))}, probabilities)
    pixels = np.stack([data.prepare.decode(tf.constant(image)).numpy() for image in sent])
    encoded = np.empty(len(sent), object)
    encoded[:] = sent
    requests = {"serving_default": ("image", pixels), "image_bytes": ("image_bytes", encoded)}
    return Golden(requests, probabilities)


def _rows(examples: tf.data.Dataset, wanted: set[int]) -> list[np.ndarray]:
    first = examples.take(max(wanted) + 1)
    return [row for i, row in enumerate(first.as_numpy_iterator()) if i in wanted]


def _files(content: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    ends = np.cumsum(lengths)
    files = np.empty(len(lengths), object)
    files[:] = [
        content[end - length : end].tobytes() for end, length in zip(ends, lengths, strict=True)
    ]
    return files
