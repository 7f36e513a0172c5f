"""The models of TensorFlow Serving's own test of its server, made anew: y = x / 2 + 2 and more."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"
VERSION = "00000123"
FEATURES = {"x": tf.io.FixedLenFeature([1], tf.float32)}


def save_all(root: Path) -> None:
    """Save each model below `root`, as NAME/00000123."""
    for name, save in MODELS.items():
        save(root / name / VERSION)


def save_line(directory: Path, offset: float) -> None:
    """Save y = x / 2 + offset as TensorFlow 1 does, with signatures of all three methods."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 1])
        examples = v1.placeholder(tf.string, [None])
        parsed = v1.parse_example(examples, FEATURES)["x"] / 2 + offset
        info, build = v1.saved_model.build_tensor_info, v1.saved_model.build_signature_def
        inputs = {"inputs": info(examples)}
        signatures = {
            "serving_default": build({"x": info(x)}, {"y": info(x / 2 + offset)}, PREDICT),
            "regress_x_to_y": build(inputs, {"outputs": info(parsed)}, REGRESS),
            "classify_x_to_y": build(inputs, {"scores": info(parsed)}, CLASSIFY),
        }
        builder = v1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def save_line_tf2(directory: Path) -> None:
    """Save y = x / 2 + 2 as TensorFlow 2 does: every signature's method is predict."""

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def predict(x: Any) -> Any:
        return {"y": x / 2 + 2}

    def of_examples(output: str) -> Any:
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def parsed(inputs: Any) -> Any:
            return {output: tf.io.parse_example(inputs, FEATURES)["x"] / 2 + 2}

        return parsed

    signatures = {
        "serving_default": predict,
        "regress_x_to_y": of_examples("outputs"),
        "classify_x_to_y": of_examples("scores"),
    }
    tf.saved_model.save(tf.Module(), str(directory), signatures)


def save_checkpoint(directory: Path) -> None:
    """Save y = 3 * 2 * x, a function of a checkpoint's variables and of any shape."""
    root = tf.train.Checkpoint()
    root.v1, root.v2 = tf.Variable(3.0), tf.Variable(2.0)
    root.f = tf.function(lambda x: {"y": root.v1 * root.v2 * x})
    function = root.f.get_concrete_function(tf.TensorSpec(None, tf.float32, name="x"))
    tf.saved_model.save(root, str(directory), function)


def save_two_signatures(directory: Path) -> None:
    """Save y = 1, and y = 2 under another signature."""
    root, spec = tf.train.Checkpoint(), [tf.TensorSpec(None, tf.float32, name="x")]
    root.f = tf.function(lambda x: {"y": tf.ones_like(x)}, input_signature=spec)
    root.g = tf.function(lambda x: {"y": 2 * tf.ones_like(x)}, input_signature=spec)
    signatures = {"serving_default": root.f, "custom_signature_key": root.g}
    tf.saved_model.save(root, str(directory), signatures)


def save_keras(directory: Path) -> None:
    """Export a sequential model that gives its input back."""
    weights = [keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", name="y")]
    model = keras.Sequential([keras.layers.Input((1,), name="x"), *weights])
    model.export(directory, verbose=False)


def save_mirrored(directory: Path) -> None:
    """Export the same, built on two replicas. Call it before TensorFlow's runtime has started."""
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
    with tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]).scope():
        save_keras(directory)


MODELS = {
    "half_plus_two": lambda directory: save_line(directory, 2),
    "half_plus_three": lambda directory: save_line(directory, 3),
    "half_plus_two_tf2": save_line_tf2,
    "checkpoint": save_checkpoint,
    "two_signatures": save_two_signatures,
    "sequential": save_keras,
}
