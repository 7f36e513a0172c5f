"""A SavedModel with a signature for each kind of tensor and shape, as TF 2 exports them."""

from pathlib import Path
from typing import Any

ROWS = 2  # of what `inconsistent` gives for each row


def save_odd(directory: Path) -> Path:
    """Export it. `triple`: y = 3 x; the other signatures are named after what is odd in them."""
    import tensorflow as tf

    spec, floats = tf.TensorSpec, tf.TensorSpec([None], tf.float32, name="x")
    features = {"x": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.5])}

    def one(of: Any, function: Any) -> Any:
        return tf.function(lambda x: {"y": function(x)}, input_signature=[of])

    @tf.function(
        input_signature=[spec([None, 2], tf.float32, name="a"), spec([None], tf.int32, name="b")]
    )
    def two(a: Any, b: Any) -> Any:
        return {"sum": tf.reduce_sum(a, 1) + tf.cast(b, tf.float32), "double": b * 2}

    @tf.function(input_signature=[spec([None], tf.string, name="inputs")])
    def classify(inputs: Any) -> Any:
        x = tf.io.parse_example(inputs, features)["x"]
        names = tf.tile(tf.constant([["a", "b"]]), [tf.shape(x)[0], 1])
        return {"classes": names, "scores": tf.concat([x, 1 - x], 1)}

    @tf.function(input_signature=[spec([None], tf.string, name="inputs")])
    def numbered(inputs: Any) -> Any:
        classes = tf.tile(tf.constant([[1, 2]], tf.int64), [tf.shape(inputs)[0], 1])
        return {"classes": classes}

    def regress(function: Any) -> Any:
        @tf.function(input_signature=[spec([None], tf.string, name="inputs")])
        def parsed(inputs: Any) -> Any:
            return {"outputs": function(tf.io.parse_example(inputs, features)["x"] * 2)}

        return parsed

    @tf.function(input_signature=[floats])
    def inconsistent(x: Any) -> Any:
        return {"a": x, "b": tf.repeat(x, ROWS)}

    @tf.function(input_signature=[spec([None], tf.string, name="x")])
    def text(x: Any) -> Any:
        return {"y": x, "y_bytes": x}

    signatures = {
        "serving_default": one(floats, lambda x: x * 3),
        "column": one(spec([None, 1], tf.float32, name="x"), lambda x: x * 3),
        "any_rank": one(spec(None, tf.float32, name="x"), lambda x: x * 3),
        "image": one(spec([None, 2, 2, 1], tf.float32, name="x"), tf.identity),
        "total": one(floats, tf.reduce_sum),
        "bfloat16": one(floats, lambda x: tf.cast(x, tf.bfloat16)),
        "bfloat16_in": one(spec([None], tf.bfloat16, name="x"), lambda x: tf.cast(x, tf.float32)),
        "complex": one(floats, lambda x: tf.complex(x, -x)),
        "half": one(floats, lambda x: tf.cast(x, tf.float16)),
        "infinite": one(floats, lambda x: x / 0.0),
        "int64": one(spec([None], tf.int64, name="x"), tf.identity),
        "logical": one(spec([None], tf.bool, name="x"), tf.logical_not),
        "text": text,
        "two": two,
        "inconsistent": inconsistent,
        "classify": classify,
        "numbered": numbered,
        "regress": regress(tf.identity),
        "regress_total": regress(tf.reduce_sum),
        "regress_wide": regress(lambda x: tf.concat([x, x], 1)),
    }
    module = tf.Module()
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(directory), signatures=signatures)
    return directory
