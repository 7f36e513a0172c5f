"""What only a GPU can show: `make test-gpu`, for whoever has one.

One network of each family takes steps in both mixed precisions, compiled and not; a strategy of one
changes nothing; what was trained there is exported and answers alike. Throughput is printed.
"""

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import precision, zoo
from trainer.config import TrainConfig
from trainer.distribute import mirrored
from trainer.objective import compile_model

CLASSES, BATCH, STEPS = 5, 16, 3
FAMILIES = (
    *("mlp", "lenet5", "mnist_cnn", "alexnet", "cnn_f", "vgg11", "googlenet", "resnet18"),
    *("se_resnet18", "applications/mobilenet_v2", "applications/densenet121"),
)
GPUS = tf.config.list_physical_devices("GPU")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not GPUS, reason="no GPU here; make test-gpu runs this where there is one"),
]


def build(name: str, policy: str, jit: str = "off", optimizer: str = "adam") -> keras.Model:
    """A network at its smallest input, compiled as a job of ours is."""
    entry = zoo.MODELS[name]
    shape: dict[str, Any] = {"features": 4}
    if entry.takes != "features":
        assert entry.min_image_size
        shape = {"image_size": (entry.min_image_size, entry.min_image_size)}
    keras.utils.set_random_seed(1)
    with precision.policy(policy):
        model = zoo.build(name, num_classes=CLASSES, **shape)
    compile_model(model, TrainConfig.model_validate({"jit": jit, "optimizer": optimizer}))
    return model


def examples(model: keras.Model, size: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    inputs = random.uniform(-1, 1, (size, *model.input_shape[1:])).astype(np.float32)
    return inputs, random.integers(0, CLASSES, size)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", FAMILIES)
def test_steps_move_every_weight_and_break_none(name: str, policy: str):
    model = build(name, policy)
    before = [weight.numpy() for weight in model.trainable_weights]
    batch = examples(model)
    for _ in range(10 if policy == "mixed_float16" else STEPS):  # the first may only lower a scale
        model.train_on_batch(*batch)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(weight.numpy()).all(), weight.path
        assert not np.array_equal(weight.numpy(), old), weight.path
    print(f"{name} {policy}: {throughput(model, batch):.0f} images/s")


def test_float16_has_its_loss_scaled_and_bfloat16_needs_it_not():
    scaled = {policy: build("lenet5", policy).optimizer for policy in ("mixed_float16", "float32")}
    assert isinstance(scaled["mixed_float16"], keras.optimizers.LossScaleOptimizer)
    assert not isinstance(scaled["float32"], keras.optimizers.LossScaleOptimizer)


@pytest.mark.parametrize("name", ["mnist_cnn", "resnet18"])
def test_a_compiled_step_is_the_step(name: str):
    losses = {}
    for jit in ("off", "on"):
        model = build(name, "float32", jit, optimizer="sgd")
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        batch = examples(model)
        losses[jit] = [float(model.train_on_batch(*batch)[0]) for _ in range(STEPS)]
    np.testing.assert_allclose(losses["on"], losses["off"], rtol=1e-3)


def test_a_strategy_of_one_trains_like_none():
    batch = None
    losses = []
    for strategy in (None, mirrored([GPUS[0].name.replace("physical_device:", "")])):
        with strategy.scope() if strategy else tf.device("GPU:0"):
            model = build("resnet18", "float32", optimizer="sgd")
        batch = batch or examples(model)
        losses.append([float(model.train_on_batch(*batch)[0]) for _ in range(STEPS)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_all_cards_decide_and_not_the_first():
    found = [tf.config.experimental.get_device_details(gpu) for gpu in GPUS]
    weakest = min(details["compute_capability"] for details in found)
    chosen, _ = precision.choose("auto", lambda: pytest.fail("a GPU's policy asks for no cost"))
    assert chosen == precision.for_gpu(weakest)[0]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_what_was_trained_is_exported_and_answers_alike(policy: str, tmp_path: Path):
    model = build("resnet18", policy)
    inputs, labels = examples(model)
    model.train_on_batch(inputs, labels)
    size = model.input_shape[1:3]
    twin = zoo.build("resnet18", image_size=size, num_classes=CLASSES)  # exports are in float32
    twin.set_weights(model.get_weights())
    twin.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_allclose(served.serve(inputs), model(inputs), atol=2e-2)


def throughput(model: keras.Model, batch: tuple[np.ndarray, np.ndarray]) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(*batch)
    return STEPS * BATCH / (time.perf_counter() - started)
