"""Exports load in TensorFlow 2.20, the runtime inside tensorflow/serving:2.20.0."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.augment_config import AugmentConfig
from pipeline.dataset import DataInfo
from pipeline.standardize import Preparation
from trainer import zoo
from trainer.export import export

VERSION = "2.20.0"
ASK = Path(__file__).with_name("exported_answers.py")
SMALL = {"classifier": [64, 32]}  # the same graph as with 4096 neurons, a hundredth of the file
# One of each family at least, and of applications one of each kind of layer.
FAMILIES: dict[str, dict[str, Any]] = {
    "mlp": {},
    "mlp_wide": {},
    "lenet5": {},
    "mnist_cnn": {},
    "alexnet": SMALL,
    "cnn_f": SMALL,
    "cnn_m": SMALL,
    "cnn_s": SMALL,
    "vgg11_lrn": SMALL,
    "vgg16": SMALL,
    "vgg16_1x1": SMALL,
    "googlenet": {},
    "resnet18": {},
    "resnet50": {},
    "se_resnet18": {},
    "se_resnet50": {},
    "senet154": {},
    "inception_naive": {},
    "inception_bottleneck": {},
    "residual_block": {},
    "applications/convnext_tiny": {"include_top": False},
    "applications/densenet121": {"include_top": False},
    "applications/efficientnet_b0": {"include_top": False},
    "applications/efficientnet_v2_b0": {"include_top": False},
    "applications/inception_v3": {"include_top": False},
    "applications/mobilenet_v2": {"include_top": False},
    "applications/mobilenet_v3_small": {"include_top": False},
    "applications/nasnet_mobile": {"include_top": False},
    "applications/resnet50_v2": {"include_top": False},
    "applications/xception": {"include_top": False},
}
pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Runtime:
    """A process that answers by its own TensorFlow."""

    process: "subprocess.Popen[str]"
    version: str

    def ask(self, place: Path) -> dict[str, np.ndarray]:
        """Give the answers to place/inputs.npy by the export beside it."""
        answers = place / f"{self.version}.npz"
        names = (place / "export", place / "inputs.npy", answers)
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(" ".join(map(str, names)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == self.version
        return dict(np.load(answers))


@contextmanager
def running(python: Path, version: str) -> Iterator[Runtime]:
    """Start a process that answers; it ends with the block."""
    environment = {"PATH": os.environ["PATH"], "TF_CPP_MIN_LOG_LEVEL": "3"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [str(python), str(ASK)], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield Runtime(process, version)
        assert process.stdin
        process.stdin.close()


@pytest.fixture(scope="module")
def ours():
    """The TensorFlow that trains."""
    with running(Path(sys.executable), tf.__version__) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    """TensorFlow 2.20 in a venv that holds nothing of ours."""
    place = tmp_path_factory.mktemp("tensorflow") / VERSION
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    python = place / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", f"tensorflow=={VERSION}"]
    subprocess.run(install, check=True, capture_output=True)
    with running(python, VERSION) as runtime:
        yield runtime


def info_of(name: str) -> DataInfo:
    """Data of a shape that the network takes, oblong where it takes images."""
    entry = zoo.MODELS[name]
    side = max(entry.min_image_size or 1, 32)
    shape = (4,) if entry.takes == "features" else (side, side + 8, 3)
    return DataInfo("test", "0" * 64, ("a", "b", "c"), {"train": 4}, shape)


def build(name: str, info: DataInfo, options: dict[str, Any]) -> keras.Model:
    keras.utils.set_random_seed(1)
    more = {"image_size": info.shape[:2]} if info.is_image else {"features": info.shape[0]}
    return zoo.build(name, num_classes=info.num_classes, **options | more)


def settle(model: keras.Model, inputs: object) -> None:
    """Give batch normalization the statistics of `inputs`, as training would have."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
        elif isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    model(inputs, training=True)


def write_export(name: str, place: Path) -> None:
    """Write the export of a network, and inputs for it, into a directory."""
    info = info_of(name)
    model = build(name, info, FAMILIES[name])
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (4, *info.shape)).astype(np.uint8)
    inputs = pixels if info.is_image else random.normal(size=(4, *info.shape)).astype(np.float32)
    prepare = Preparation(info.shape, zoo.MODELS[name].scaling, "antialias", AugmentConfig())
    settle(model, prepare(inputs))
    export(model, info, prepare, place / "export", {})
    np.save(place / "inputs.npy", inputs)
    keras.utils.clear_session()  # frees what the largest networks hold


def test_a_family_is_missing_from_no_list():
    listed = {type(zoo.MODELS[name]) for name in FAMILIES}
    assert listed == {type(entry) for entry in zoo.MODELS.values()}


@pytest.mark.parametrize("name", FAMILIES)
def test_an_export_gives_the_same_answers_in_the_serving_runtime(name, ours, serving, tmp_path):
    write_export(name, tmp_path)
    here, there = ours.ask(tmp_path), serving.ask(tmp_path)
    assert there.keys() == here.keys()
    for signature, probabilities in here.items():
        assert probabilities.max(axis=1).mean() < 0.999  # an answer that can differ
        np.testing.assert_allclose(there[signature], probabilities, atol=1e-4)
    shutil.rmtree(tmp_path / "export")  # half a gigabyte, for the largest
