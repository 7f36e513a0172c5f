"""SavedModel directories to publish: a tiny classifier whose every answer a test knows."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from serving.observation import Observation


def seen(**changes: Any) -> Observation:
    """Give what a server learns of one request."""
    fields: dict[str, Any] = {
        "api": "predict",
        "entrypoint": "GRPC",
        "model": "m",
        "version": 3,
        "signature": "serving_default",
        "status": "OK",
        "seconds": 0.002,
        "inputs": {},
        "outputs": {},
    }
    return Observation(**(fields | changes))


def write_manifest(directory: Path) -> None:
    """List every file of an export, as the trainer's export does."""
    files = {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    extra = directory / "assets.extra"
    extra.mkdir(exist_ok=True)
    manifest = {"algorithm": "sha256", "files": files}
    (extra / "manifest.json").write_text(json.dumps(manifest))


CLASSES = ("zero", "one", "two")


def save_classifier(directory: Path, favourite: int = 0, ballast: int = 1) -> Path:
    """Export a tiny image classifier with the signatures that the trainer's exports have.

    An image's class is (its first pixel + `favourite`) modulo 3, so a test knows every answer and
    which version gave it. `ballast`: how many more floats the model holds.
    """
    import tensorflow as tf

    class Classifier(tf.Module):
        def __init__(self) -> None:
            self.shift = tf.Variable(favourite, dtype=tf.int32)
            self.names = tf.constant(CLASSES)
            self.ballast = tf.Variable(tf.zeros([ballast]))

        def answer(self, image: Any) -> dict[str, Any]:
            first = tf.cast(tf.reshape(image, [tf.shape(image)[0], -1])[:, 0], tf.int32)
            winner = tf.math.floormod(first + self.shift, len(CLASSES))
            logits = 3.0 * tf.one_hot(winner, len(CLASSES)) + tf.constant([0.2, 0.1, 0.0])
            probabilities = tf.nn.softmax(logits)
            class_id = tf.argmax(probabilities, axis=-1, output_type=tf.int64)
            label = tf.gather(self.names, class_id)
            return {"probabilities": probabilities, "class_id": class_id, "label": label}

        @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 1], tf.uint8, name="image")])
        def serving_default(self, image: Any) -> dict[str, Any]:
            return self.answer(image)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def image_bytes(self, image_bytes: Any) -> dict[str, Any]:
            def decode(encoded: Any) -> Any:
                image = tf.io.decode_image(encoded, channels=1, expand_animations=False)
                return tf.ensure_shape(image, [4, 4, 1])

            return self.answer(tf.map_fn(decode, image_bytes, fn_output_signature=tf.uint8))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
        def tf_example(self, examples: Any) -> dict[str, Any]:
            image = tf.io.FixedLenFeature([], tf.string)
            return self.image_bytes(tf.io.parse_example(examples, {"image": image})["image"])

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="class_id")])
        def class_labels(self, class_id: Any) -> dict[str, Any]:
            return {"label": tf.gather(self.names, class_id)}

    module = Classifier()
    signatures = {
        "serving_default": module.serving_default,
        "image_bytes": module.image_bytes,
        "tf_example": module.tf_example,
        "class_labels": module.class_labels,
    }
    tf.saved_model.save(module, str(directory), signatures)
    write_warmup(directory)
    write_manifest(directory)
    return directory


def write_warmup(directory: Path) -> None:
    """Write the requests that a server sends to itself before it serves the model."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 4, 4, 1), np.uint8)))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    extra = directory / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())
