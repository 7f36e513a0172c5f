"""What TFX hands to its components: arguments, and records as its ExampleGen writes them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from pipeline import DataConfig, load

ATTRIBUTES = (
    "working_dir", "train_files", "eval_files", "train_steps", "eval_steps", "schema_path",
    "transform_graph_path", "data_accessor", "serving_model_dir", "eval_model_dir",
    "model_run_dir", "base_model", "hyperparameters", "custom_config",
)  # fmt: skip
SECTIONS: dict[str, Any] = {
    "data": {"image_size": [16, 16], "channels": 1},
    "model": {"name": "lenet5", "options": {"activation": "relu"}},
    "train": {"epochs": 2, "batch_size": 50, "learning_rate": 3e-3, "precision": "float32"},
}


def arguments(directory: str | Path, **given: Any) -> SimpleNamespace:
    """A Trainer's arguments; TFX leaves None what a pipeline does not use."""
    usual = {
        "train_files": [f"{directory}/examples/Split-train/*"],
        "eval_files": [f"{directory}/examples/Split-eval/*"],
        "serving_model_dir": f"{directory}/model/Format-Serving",
        "custom_config": {"convoy": SECTIONS},
    }
    return SimpleNamespace(**(dict.fromkeys(ATTRIBUTES) | usual | given))


def write_examples(directory: Path, data_dir: Path, of_each: int = 100) -> None:
    """Write digits as gzip-compressed shards of tf.Example, at most four for each split.

    `of_each`: how many examples of a shard; the last may have fewer.
    """
    digits = load(DataConfig(source="digits", data_dir=str(data_dir), channels=1), of_each, "none")
    for split, batches in (("train", digits.train), ("eval", digits.validation)):
        shards = directory / "examples" / f"Split-{split}"
        shards.mkdir(parents=True)
        for number, (images, labels) in enumerate(batches.take(4)):
            path = str(shards / f"data_tfrecord-{number:05}-of-00004.gz")
            with tf.io.TFRecordWriter(path, "GZIP") as writer:
                for image, label in zip(images, labels, strict=True):
                    writer.write(_example(tf.cast(image, tf.uint8), int(label)))


def _example(image: tf.Tensor, label: int) -> bytes:
    png = tf.train.BytesList(value=[tf.io.encode_png(image).numpy()])
    feature = {
        "image": tf.train.Feature(bytes_list=png),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
