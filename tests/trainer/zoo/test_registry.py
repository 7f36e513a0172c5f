"""The registry is one honest table, and its errors say what to do."""

import keras
import pytest

from trainer import zoo
from trainer.zoo import (
    alexnet,
    applications,
    blocks,
    chatfield,
    googlenet,
    lenet,
    mlp,
    resnet,
    senet,
    vgg,
)

FAMILIES = [
    mlp,
    lenet,
    alexnet,
    chatfield,
    vgg,
    googlenet,
    resnet,
    senet,
    blocks,
    applications,
]


def test_no_name_is_claimed_by_two_families():
    assert len(zoo.MODELS) == sum(len(family.VARIANTS) for family in FAMILIES)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_entry_says_what_its_callers_ask(name):
    entry = zoo.MODELS[name]
    assert entry.scaling in {"unit", "caffe", "torch", "tf", "none"}
    assert entry.paper
    assert "\n" not in entry.paper
    assert (entry.min_image_size is None) == (entry.takes == "features")
    assert entry.options()  # every option has a default


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet_5", {}, r"unknown model 'lenet_5'. Did you mean 'lenet5'\? Known: mlp, "),
        ("applications/ResNet50V2", {}, "Did you mean 'applications/resnet50_v2'"),
        ("lenet5", {"activatoin": "relu"}, r"no option 'activatoin'. Did you mean 'activation'\?"),
        ("lenet5", {"activation": "rely"}, "option 'activation' got 'rely': .*'relu', 'relu6'"),
        ("lenet5", {"dropout": 1.0}, r"option 'dropout' got 1.0: .*less than 1"),
        ("mlp", {"units": [0]}, r"option 'units' got \[0\]: .*greater than or equal to 1"),
        ("mlp", {"units": "50"}, "option 'units' got '50': .* or: "),
        ("mlp", {"batch_norm": 1}, "option 'batch_norm' got 1: .*boolean"),
        ("mnist_cnn", {"first_kernel": 4}, "option 'first_kernel' got 4: .*3 or 5"),
    ],
)
def test_wrong_names_and_options_are_refused_before_anything_is_built(name, options, message):
    with pytest.raises(ValueError, match=message):
        zoo.check_options(name, options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": (15, 40)}, r"image_size \(15, 40\) is too small: .* takes is \(16, 16\)"),
        ({"image_size": None}, r"image_size must be \(height, width\) in pixels, not None"),
        ({"image_size": (32, 32), "channels": 4}, "channels must be 1 or 3, not 4"),
        ({"image_size": (32, 32), "num_classes": 0}, "num_classes must be at least 2, not 0"),
        ({"image_size": (32, 32), "num_classes": 1}, "at least 2, not 1: .* is always 1"),
    ],
)
def test_impossible_inputs_are_refused_with_what_is_possible(arguments, message):
    with pytest.raises(ValueError, match=message):
        zoo.build("lenet5", **arguments)


@pytest.mark.parametrize(
    "name",
    ["lenet5", "mnist_cnn", "alexnet", "cnn_f", "cnn_m", "cnn_s", "vgg13", "applications/xception"],
)
def test_the_smallest_image_is_the_smallest(name):
    """One pixel less leaves some window without pixels, or Keras refuses it."""
    entry = zoo.MODELS[name]
    options = {"classifier": [8]} if "classifier" in entry.options.model_fields else {}
    if name.startswith("applications/"):
        options = {}
    assert entry.min_image_size
    too_small = keras.Input((entry.min_image_size - 1, 60, 3))
    with pytest.raises(ValueError, match="[Nn]egative|non-positive|at least|too small"):
        entry.connect(too_small, 5, zoo.check_options(name, options))
