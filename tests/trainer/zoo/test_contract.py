"""What every architecture of the zoo does, whatever its family."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import flops, precision, small_maps, zoo

CLASSES = 5
SMALL_HEAD = {"classifier": [32, 16]}  # the same code as with 4096 neurons, in a tenth of the time
FAST: dict[str, dict[str, Any]] = {
    "mlp": {},
    "mlp_wide": {},
    "lenet5": {},
    "mnist_cnn": {},
    "alexnet": SMALL_HEAD,
    "cnn_f": SMALL_HEAD,
    "vgg11_lrn": SMALL_HEAD,
    "inception_bottleneck": {},
    "residual_block": {},
    "resnet18": {},
}
SLOW = [
    "alexnet",
    "cnn_s",
    "vgg16",
    "googlenet",
    "resnet50",
    "se_resnet18",
    "senet154",
    "inception_naive",
    "applications/convnext_tiny",
    "applications/mobilenet_v2",
]


@dataclass(frozen=True)
class Case:
    """One architecture at its smallest input."""

    name: str
    options: Mapping[str, Any]

    def build(self) -> keras.Model:
        entry = zoo.MODELS[self.name]
        if entry.takes == "features":
            return zoo.build(self.name, features=4, num_classes=CLASSES, **self.options)
        assert entry.min_image_size
        size = (entry.min_image_size, entry.min_image_size + 3)
        return zoo.build(self.name, image_size=size, num_classes=CLASSES, **self.options)


def _cases():
    for name, options in FAST.items():
        yield pytest.param(Case(name, options), id=f"{name}-fast" if options else name)
    for name in sorted(zoo.MODELS, key=lambda name: name not in SLOW):
        if FAST.get(name) != {}:
            mark = pytest.mark.slow if name in SLOW else pytest.mark.full
            yield pytest.param(Case(name, {}), id=name, marks=mark)


def scaled_batch(model: keras.Model, size: int = 4) -> tf.Tensor:
    return keras.random.uniform((size, *model.input_shape[1:]), -1, 1, seed=3)


@pytest.fixture(scope="module", params=_cases())
def case(request) -> Iterator[Case]:
    yield request.param
    if FAST.get(request.param.name) != request.param.options:
        keras.utils.clear_session()  # frees what the largest networks hold


@pytest.fixture(scope="module")
def settled(case) -> tuple[keras.Model, tf.Tensor]:
    """The network, and images whose statistics its batch normalization has.

    In float64: through a hundred untrained layers float32's rounding grows until it decides the
    answer, and two right graphs disagree.
    """
    with precision.policy("float64"):
        model = case.build()
    images = scaled_batch(model)
    layers = model._flatten_layers()
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    drops = [layer for layer in layers if isinstance(layer, keras.layers.Dropout)]
    for norm in norms:
        norm.momentum = 0.0
    for drop in drops:
        drop.rate = 0.0
    model(images, training=True)
    return model, images


def test_one_step_in_mixed_precision_reaches_every_weight_and_breaks_none(case):
    with precision.policy("mixed_bfloat16"):
        model = case.build()
    model.compile("sgd", "sparse_categorical_crossentropy")
    images, labels = scaled_batch(model), tf.range(4) % CLASSES
    with tf.GradientTape() as tape:
        probabilities = model(images, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    missing = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None
    ]
    assert missing == []
    model.optimizer.apply(gradients, model.trainable_weights)
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)
    assert probabilities.dtype == tf.float32
    np.testing.assert_allclose(tf.reduce_sum(probabilities, axis=1), np.ones(4), rtol=1e-5)


def test_convolutions_as_products_give_the_same_gradients(settled):
    # float64's rounding grows to 1e-7 of the largest number through a hundred layers.
    model, images = settled
    plain = _gradients(model, images)
    with small_maps.as_products(model):
        ours = _gradients(model, images)
    for weight, one, other in zip(model.trainable_weights, ours, plain, strict=True):
        largest = float(tf.reduce_max(tf.abs(other)))
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6 * largest, err_msg=weight.path)


def test_saved_and_exported_it_gives_the_same_answers(settled, tmp_path):
    model, images = settled
    expected = model(images)
    assert tf.reduce_mean(tf.reduce_max(expected, axis=1)) < 0.999  # an answer that can differ
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(images), expected)
    model.export(tmp_path / "export", verbose=False)
    served = tf.saved_model.load(tmp_path / "export")
    np.testing.assert_allclose(served.serve(images), expected, atol=1e-5)
    assert "XlaMustCompile" not in str(served.serve.concrete_functions[0].graph.as_graph_def())
    shutil.rmtree(tmp_path)  # a gigabyte each, for the largest


def _gradients(model: keras.Model, images: tf.Tensor) -> list[tf.Tensor]:
    labels = tf.range(len(images)) % CLASSES
    with tf.GradientTape() as tape:
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(images))
    return tape.gradient(losses, [weight.value for weight in model.trainable_weights])


def test_layer_names_are_the_same_in_every_build_and_unique(case):
    first, second = ([layer.name for layer in flops.estimate(case.build).layers] for _ in range(2))
    assert first == second
    assert len(first) == len(set(first))
    assert first[-2:] == ["logits", "probabilities"] or case.name.startswith("applications/")
