"""The SavedModel that servers load: network, preprocessing and labels behind named signatures."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline import labels, trained
from pipeline.dataset import DataInfo
from pipeline.standardize import Preparation
from trainer import manifest, warmup

Signature = Callable[..., dict[str, tf.Tensor]]
LABELS = "labels.txt"
EXTRA = "assets.extra"  # TensorFlow Serving's place for files that are not the graph's
DECODERS = 8  # parallel image decodes in one request


def export(
    network: keras.Model,
    info: DataInfo,
    prepare: Preparation,
    directory: Path,
    card: dict[str, Any],
    trained_on: np.ndarray | None = None,
) -> Path:
    """Write a network as a SavedModel and return its directory.

    `network` computes in float32 and gives probabilities [N, K]; `prepare` is what the training
    data went through (`Splits.prepare`). `trained_on` is `Slice.contents` of these data: with it,
    whoever compares models later can tell which examples this one knows.

    Signatures for images: `serving_default` (uint8 [N, H, W, C]), `image_bytes` (encoded files [N])
    and `tf_example` (serialized tf.Example [N] with a bytes feature `image`). For vectors:
    `serving_default` (`features` float32 [N, D]) and `tf_example` (a float list `features`). Each
    gives `probabilities`, `class_id` and `label`. `class_labels` names any class ids. An existing
    directory is replaced.
    """
    archive = keras.export.ExportArchive()
    archive.track(network)
    signatures = _image_signatures if info.is_image else _vector_signatures
    for name, (function, spec) in signatures(network, info, prepare).items():
        archive.add_endpoint(name, function, input_signature=[spec])
    function, spec = _class_labels(info)
    archive.add_endpoint("class_labels", function, input_signature=[spec])
    shutil.rmtree(directory, ignore_errors=True)
    archive.write_out(str(directory), verbose=False)
    _write_extra(directory, info, card, trained_on)
    return directory


def _write_extra(
    directory: Path, info: DataInfo, card: dict[str, Any], trained_on: np.ndarray | None
) -> None:
    extra = directory / EXTRA
    extra.mkdir()
    (extra / LABELS).write_text(labels.to_text(info.class_names), encoding="utf-8", newline="\n")
    (extra / "card.json").write_text(
        json.dumps(card, indent=2, ensure_ascii=False), encoding="utf-8"
    )
    if trained_on is not None:
        (extra / trained.FILE_NAME).write_bytes(trained.record(trained_on))
    warmup.write(extra / warmup.FILE_NAME, _warmup_inputs(info))
    manifest.write(directory, extra / manifest.FILE_NAME)


def _image_signatures(
    network: keras.Model, info: DataInfo, prepare: Preparation
) -> dict[str, tuple[Signature, tf.TensorSpec]]:
    height, width, channels = info.shape
    answer = _answer(network, info)

    def from_pixels(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(prepare(image))

    def from_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.map_fn(
            prepare.decode, image_bytes, parallel_iterations=DECODERS, fn_output_signature=tf.uint8
        )
        return from_pixels(tf.ensure_shape(pixels, (None, height, width, channels)))

    def from_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_example(examples, {"image": tf.io.FixedLenFeature([], tf.string)})
        return from_bytes(parsed["image"])

    return {
        "serving_default": (
            from_pixels,
            tf.TensorSpec((None, *info.shape), tf.uint8, name="image"),
        ),
        "image_bytes": (from_bytes, tf.TensorSpec((None,), tf.string, name="image_bytes")),
        "tf_example": (from_examples, tf.TensorSpec((None,), tf.string, name="examples")),
    }


def _vector_signatures(
    network: keras.Model, info: DataInfo, prepare: Preparation
) -> dict[str, tuple[Signature, tf.TensorSpec]]:
    answer = _answer(network, info)

    def from_features(features: tf.Tensor) -> dict[str, tf.Tensor]:
        return answer(prepare(tf.debugging.check_numerics(features, "features of a row")))

    def from_examples(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        spec = {"features": tf.io.FixedLenFeature(info.shape, tf.float32)}
        return from_features(tf.io.parse_example(examples, spec)["features"])

    return {
        "serving_default": (
            from_features,
            tf.TensorSpec((None, *info.shape), tf.float32, name="features"),
        ),
        "tf_example": (from_examples, tf.TensorSpec((None,), tf.string, name="examples")),
    }


def _answer(network: keras.Model, info: DataInfo) -> Signature:
    names = tf.constant(info.class_names)

    def answer(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = network(inputs, training=False)
        probabilities = tf.debugging.check_numerics(probabilities, "the network's answer to a row")
        class_id = tf.argmax(probabilities, axis=-1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(names, class_id),
        }

    return answer


def _class_labels(info: DataInfo) -> tuple[Signature, tf.TensorSpec]:
    def class_labels(class_id: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"label": tf.gather(tf.constant(info.class_names), class_id)}

    return class_labels, tf.TensorSpec((None,), tf.int64, name="class_id")


def _warmup_inputs(info: DataInfo) -> list[tuple[str, str, tf.Tensor]]:
    """Give (signature, input name, value) for each signature that runs the network."""
    if not info.is_image:
        return [("serving_default", "features", tf.zeros((1, *info.shape)))]
    black = np.zeros(info.shape, np.uint8)
    png = tf.io.encode_png(black)
    return [
        ("serving_default", "image", tf.constant(black[None])),
        ("image_bytes", "image_bytes", png[None]),
    ]
