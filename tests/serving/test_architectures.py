"""Layers that abort the process on a wrong rank never see one (tensorflow#111453)."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import Client, Options
from serving.errors import RequestRejected
from serving.store import Store

pytestmark = pytest.mark.slow

SERVE = """
import sys
from pathlib import Path
from serving.server import serve
from serving.settings import Listen, of_store
serve(of_store(Path(sys.argv[1]), Listen(port=0, rest_port=None)),
      lambda s: print(s.grpc_address, flush=True))
"""


def plain(layers: Any, x: Any) -> Any:
    x = layers.MaxPooling2D()(layers.Conv2D(8, 3, activation="relu")(x))
    return layers.Flatten()(x)


def residual(layers: Any, x: Any) -> Any:
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    branch = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x))
    x = layers.ReLU()(layers.Add()([x, branch]))
    return layers.GlobalAveragePooling2D()(x)  # takes any height and width, if it is let


def squeezed(layers: Any, x: Any) -> Any:
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(8, 1)(x))
    weights = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(weights)])
    return layers.GlobalMaxPooling2D()(x)


def grouped(layers: Any, x: Any) -> Any:
    x = layers.SeparableConv2D(8, 3, strides=2)(x)
    x = layers.Concatenate()([layers.Conv2D(4, 1)(x), layers.AveragePooling2D(1)(x)])
    return layers.Flatten()(layers.Conv2D(8, 3, groups=4)(x))


def export(directory: Path, body: Callable[[Any, Any], Any]) -> Path:
    """A network of float pixels, exported without a manifest."""
    import keras
    import tensorflow as tf

    inputs = keras.Input((16, 16, 3))
    outputs = keras.layers.Dense(3, activation="softmax")(body(keras.layers, inputs))
    network = keras.Model(inputs, outputs)
    archive = keras.export.ExportArchive()
    archive.track(network)
    spec = tf.TensorSpec([None, 16, 16, 3], tf.float32, name="image")
    archive.add_endpoint("serving_default", lambda image: {"y": network(image)}, [spec])
    archive.write_out(str(directory), verbose=False)
    return directory


def wrong_inputs(random: np.random.Generator, count: int) -> list[Any]:
    """Arrays that differ from [N, 16, 16, 3] float32 in rank, a size, the type, or in all."""
    found: list[Any] = []
    while len(found) < count:
        rank = int(random.integers(0, 7))
        shape = [int(size) for size in random.choice([0, 1, 2, 3, 8, 16, 17], rank)]
        dtype = random.choice(["float32", "uint8", "int64", "float64", "bool"])
        if dtype != "float32" or shape[1:] != [16, 16, 3] or shape[0] == 0:
            found.append(np.zeros(shape, dtype))
    return found


@pytest.mark.parametrize("body", [plain, residual, squeezed, grouped])
def test_fifty_wrong_inputs_leave_the_server_answering(
    store: Store, tmp_path: Path, manifest: Callable[[Path], None], body: Any
):
    directory = export(tmp_path / "export", body)
    manifest(directory)
    store.publish("m", directory)
    command = [sys.executable, "-c", SERVE, store.root]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        try:
            with Client(process.stdout.readline().strip(), Options(retries=0)) as client:
                for wrong in wrong_inputs(np.random.default_rng(7), 50):
                    with pytest.raises(RequestRejected):
                        client.infer({"image": wrong}, model="m")
                good = np.zeros((2, 16, 16, 3), np.float32)
                assert client.infer({"image": good}, model="m")["y"].shape == (2, 3)
        finally:
            process.kill()
