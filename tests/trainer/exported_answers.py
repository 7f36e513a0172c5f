"""Says what exported models answer, by whatever TensorFlow runs this.

Reads a line for each model, EXPORT INPUTS.npy ANSWERS.npz, and writes one: the version of
TensorFlow, or what went wrong.
"""

import sys

import numpy as np
import tensorflow as tf


def answer(export: str, inputs: str, answers: str) -> None:
    """Ask the signatures for tensors and, of images, for files."""
    values = np.load(inputs)
    signatures = tf.saved_model.load(export).signatures
    name = "image" if values.ndim == 4 else "features"
    asked = {"serving_default": {name: tf.constant(values)}}
    if values.ndim == 4:
        files = [tf.io.encode_png(image) for image in values]
        asked["image_bytes"] = {"image_bytes": tf.stack(files)}
    found = {key: signatures[key](**tensors) for key, tensors in asked.items()}
    np.savez(answers, **{key: outputs["probabilities"] for key, outputs in found.items()})


def main() -> None:
    """Answer line by line, until there are no more."""
    for line in sys.stdin:
        try:
            answer(*line.split())
            said = tf.__version__
        except Exception as problem:
            said = repr(problem).replace("\n", " ")
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
