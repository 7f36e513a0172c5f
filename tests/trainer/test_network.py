"""The weights that a job's network starts from."""

import dataclasses

import keras
import numpy as np
import pytest
import tf_keras
from keras.src.utils import file_utils

from pipeline.dataset import DataInfo
from trainer import network, zoo
from trainer.config import ModelConfig

SMALL = {"classifier": [8]}


def images(side: int = 32) -> DataInfo:
    return DataInfo("photos", "", ("cat", "dog"), {}, (side, side, 3))


@pytest.fixture
def published(tmp_path, monkeypatch) -> tf_keras.Model:
    """What Keras would fetch: the trunk's file, with other weights."""
    model = tf_keras.applications.VGG16(weights=None, include_top=False)
    model.save_weights(tmp_path / "notop.h5")
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(tmp_path / "notop.h5"))
    return model


def test_vgg_starts_from_imagenet(published):
    warned: list[str] = []
    config = ModelConfig(name="vgg16", weights="imagenet", options=SMALL)
    model = network.start(config, images(), "float32", warned.append)
    trunk = keras.Model(model.input, model.get_layer("block5_pool").output)
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)) * 50
    np.testing.assert_allclose(trunk(image), published(image), atol=1e-5)
    assert warned == []  # the head is for other classes


def test_an_output_layer_for_as_many_classes_as_imagenet_has_is_told(monkeypatch):
    """A thousand classes of one's own are not ImageNet's; here five stand for the thousand."""

    def published(**_: object) -> keras.Model:
        inputs = keras.Input((84,))
        return keras.Model(inputs, keras.layers.Dense(5, "softmax", name="predictions")(inputs))

    vgg = dataclasses.replace(zoo.MODELS["lenet5"], published=published)
    monkeypatch.setitem(zoo.MODELS, "lenet5", vgg)
    warned: list[str] = []
    five = dataclasses.replace(images(), class_names=tuple("abcde"))
    network.start(ModelConfig(name="lenet5", weights="imagenet"), five, "float32", warned.append)
    assert warned == [
        "model.weights: the rows of ImageNet's output layer are taken in their order for the "
        "classes of the data"
    ]


@pytest.mark.parametrize("name", ["vgg16", "applications/mobilenet_v3_small"])
def test_imagenet_without_a_network_is_refused_with_one_line(name, monkeypatch):
    def fetch(*_: object, **__: object) -> str:
        raise Exception("URL fetch failure on https://example.org/x.h5: None -- unreachable")

    monkeypatch.setattr(file_utils, "get_file", fetch)
    options = SMALL if name == "vgg16" else {"include_top": False}
    with pytest.raises(ValueError, match="cannot be fetched: URL fetch failure on https") as told:
        network.start(ModelConfig(name=name, weights="imagenet", options=options), images(224))
    assert "\n" not in str(told.value)


def test_a_network_that_nobody_publishes_weights_of_says_which_have_them():
    config = ModelConfig(name="lenet5", weights="imagenet")
    with pytest.raises(ValueError, match="for lenet5. They are there for vgg16, vgg19 and every"):
        network.start(config, images())


def test_an_output_layer_that_may_have_been_meant_is_warned_of(tmp_path):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(50, "relu", name="hidden1")(inputs)
    trained = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="answers")(hidden))
    trained.save(tmp_path / "mine.keras")
    warned: list[str] = []
    config = ModelConfig(name="mlp", weights=str(tmp_path / "mine.keras"))
    vectors = DataInfo("flowers", "", ("a", "b"), {}, (4,))
    network.start(config, vectors, "float32", warned.append)
    [warning] = warned
    assert warning.startswith("model.weights: the output layer 'logits' starts untrained")
