"""Every network of keras.applications is in the zoo, fed as Keras feeds it."""

import inspect

import keras
import numpy as np
import pytest

from trainer import flops, precision, zoo
from trainer.grouped import GroupedConv2D
from trainer.zoo import applications
from trainer.zoo.applications import Application


def build(name, side=32, channels=3, num_classes=7, **options):
    return zoo.build(
        name, image_size=(side, side), channels=channels, num_classes=num_classes, **options
    )


def test_every_builder_of_keras_has_its_own_entry():
    builders = {f for _, f in inspect.getmembers(keras.applications, inspect.isfunction)}
    entries = [entry for entry in applications.VARIANTS.values() if isinstance(entry, Application)]
    assert {entry.builder for entry in entries} == builders
    assert len(applications.VARIANTS) == len(builders) >= 40


@pytest.mark.parametrize(
    ("builder", "name"),
    [
        ("MobileNetV2", "mobilenet_v2"),
        ("MobileNetV3Small", "mobilenet_v3_small"),
        ("ResNet50", "resnet50"),
        ("ResNet152V2", "resnet152_v2"),
        ("EfficientNetB0", "efficientnet_b0"),
        ("EfficientNetV2B0", "efficientnet_v2_b0"),
        ("EfficientNetV2S", "efficientnet_v2_s"),
        ("InceptionResNetV2", "inception_resnet_v2"),
        ("NASNetMobile", "nasnet_mobile"),
        ("ConvNeXtXLarge", "convnext_xlarge"),
        ("VGG16", "vgg16"),
    ],
)
def test_names_split_at_words_and_versions(builder, name):
    assert applications.zoo_name(builder) == f"applications/{name}"


@pytest.mark.parametrize(
    ("name", "scaling", "paper"),
    [
        ("resnet50", "caffe", "Deep Residual Learning for Image Recognition, CVPR 2015"),
        ("mobilenet_v2", "tf", "MobileNetV2: Inverted Residuals"),
        ("densenet121", "torch", "Densely Connected Convolutional Networks, CVPR 2017"),
        ("efficientnet_b0", "none", "EfficientNet: Rethinking Model Scaling"),
    ],
)
def test_scaling_and_paper_are_those_that_keras_documents(name, scaling, paper):
    entry = zoo.MODELS[f"applications/{name}"]
    assert entry.scaling == scaling
    assert entry.paper.startswith(paper)


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v3_small", "resnet50"])
def test_parameters_are_as_keras_counts_them(name):
    entry = zoo.MODELS[f"applications/{name}"]
    assert isinstance(entry, Application)
    theirs = flops.estimate(lambda: entry.builder(input_shape=(224, 224, 3), weights=None))
    ours = flops.estimate(lambda: build(f"applications/{name}", 224, num_classes=1000))
    assert ours.parameters == theirs.parameters


def test_gray_images_feed_all_three_channels():
    model = build("applications/mobilenet", channels=1)
    colour = build("applications/mobilenet")
    colour.set_weights(model.get_weights())
    gray = keras.random.uniform((2, 32, 32, 1), seed=1)
    np.testing.assert_array_equal(model(gray), colour(keras.ops.repeat(gray, 3, axis=-1)))


def test_weights_of_keras_networks_are_loaded_from_a_file(tmp_path):
    trunk = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = str(tmp_path / "trunk.weights.h5")
    trunk.save_weights(path)
    model = build("applications/mobilenet", weights=path, include_top=False)
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, trunk.get_layer("conv1").kernel)


def test_weights_are_kept_by_a_network_refitted_for_half_precision(tmp_path):
    theirs = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), classes=7)
    path = str(tmp_path / "whole.weights.h5")
    theirs.save_weights(path)
    with precision.policy("mixed_bfloat16"):
        ours = build("applications/mobilenet", weights=path)
    assert ours.get_layer("conv_preds").compute_dtype == "float32"
    assert ours.get_layer("conv1").compute_dtype == "bfloat16"
    for mine, original in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, original)


def test_a_head_of_ones_own_has_the_layers_it_is_asked_for():
    model = build(
        "applications/mobilenet", include_top=False, pooling="max", classifier=[12], dropout=0.3
    )
    names = [layer.name for layer in model.layers]
    assert names[-6:] == [
        "head_pool",
        "head_dense1",
        "head_dense1_act",
        "head_dense1_drop",
        "logits",
        "probabilities",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classifier": [10], "dropout": 0.2}, "classifier, dropout shape a head of one's own"),
        ({"weights": "imagenet"}, "knows 1000 classes, not 7. Set include_top = false"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build("applications/mobilenet_v2", **options)


@pytest.mark.slow
def test_grouped_convolutions_are_replaced_and_compute_the_same():
    theirs = keras.applications.ConvNeXtTiny(
        weights=None, input_shape=(32, 32, 3), classes=7, include_top=True
    )
    ours = build("applications/convnext_tiny")
    assert any(isinstance(layer, GroupedConv2D) for layer in ours.layers)
    ours.set_weights(theirs.get_weights())
    image = keras.random.uniform((2, 32, 32, 3), 0, 255, seed=0)
    np.testing.assert_allclose(ours(image), theirs(image), atol=1e-5)
