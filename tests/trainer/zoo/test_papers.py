"""Every network has exactly the parameters that its paper, or arithmetic on it, gives."""

import keras
import numpy as np
import pytest
from keras import layers

from trainer import flops, zoo
from trainer.layers import ConvBN
from trainer.zoo.inception import Widths, inception


def cost(name, side=224, channels=3, num_classes=1000, **options):
    shape = {"image_size": (side, side), "channels": channels}
    return flops.estimate(lambda: zoo.build(name, **shape, num_classes=num_classes, **options))


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("alexnet", {}, 62_378_344),
        ("vgg11", {}, 132_863_336),
        ("vgg11_lrn", {}, 132_863_336),
        ("vgg13", {}, 133_047_848),
        ("vgg16_1x1", {}, 133_638_952),
        ("vgg16", {}, 138_357_544),
        ("vgg19", {}, 143_667_240),
        ("googlenet", {}, 6_998_552),
        ("googlenet", {"auxiliary": True}, 13_378_280),
    ],
)
def test_all_parameters_at_224_pixels_and_1000_classes(name, options, parameters):
    assert cost(name, **options).parameters == parameters


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
        ("se_resnet18", 11_778_592),
        ("se_resnet34", 21_958_868),
        ("se_resnet50", 28_088_024),
        ("se_resnet101", 49_326_872),
        ("se_resnet152", 66_821_848),
        pytest.param("senet154", 115_088_984, marks=pytest.mark.slow),
    ],
)
def test_trainable_parameters_of_residual_networks(name, parameters):
    assert cost(name, side=32).trainable_parameters == parameters


@pytest.mark.parametrize(
    ("name", "convolutions"), [("cnn_f", 2_203_392), ("cnn_m", 6_528_640), ("cnn_s", 6_528_640)]
)
def test_chatfield_networks_by_part(name, convolutions):
    lines = {layer.name: layer for layer in cost(name).layers}
    convolved = sum(line.parameters for line in lines.values() if line.kind == "Conv2D")
    assert convolved == convolutions
    assert lines["full7"].parameters + lines["logits"].parameters == 20_878_312
    assert lines["flatten"].output_shape == (6 * 6 * (256 if name == "cnn_f" else 512),)


def test_alexnet_on_small_images_leaves_out_the_pool_that_no_longer_fits():
    small = cost("alexnet", side=32, num_classes=10, norm="batch")
    assert small.parameters == 21_623_562
    assert small.parameters - small.trainable_parameters == 704
    assert [line.name for line in small.layers if "Pooling" in line.kind] == ["pool1", "pool2"]


def test_alexnet_of_the_course_has_no_third_pool():
    course = cost("alexnet", num_classes=10, norm="batch")
    assert course.parameters == 197_784_330
    names = [line.name for line in course.layers if line.parameters or "Pool" in line.kind]
    assert names[:6] == ["conv1", "pool1", "conv1_bn", "conv2", "pool2", "conv2_bn"]
    assert "pool5" not in names


def test_course_listing_of_the_bottleneck_module_behind_a_dense_layer():
    inputs = keras.Input((28, 28, 3))
    x = layers.Dense(192)(inputs)
    module = Widths(64, (96, 128), (16, 32), 32)
    x = inception(x, module, ConvBN(batch_norm=False, bias=True), "block")
    model = keras.Model(inputs, x)
    assert (x.shape[-1], model.count_params()) == (256, 164_464)


@pytest.mark.parametrize(
    ("name", "options", "channels", "parameters"),
    [
        ("inception_bottleneck", {"stem": 192}, 256, 164_464),
        ("inception_naive", {"stem": 192}, 416, 768 + 387_072 + 224),
        ("residual_block", {}, 128, 151_232),
    ],
)
def test_blocks_are_members_of_the_zoo_with_a_head_of_their_own(
    name, options, channels, parameters
):
    whole = cost(name, side=28, num_classes=10, **options)
    assert whole.parameters == parameters + channels * 10 + 10


def test_the_course_transfer_model_on_a_residual_trunk():
    whole = cost(
        "applications/resnet50",
        num_classes=100,
        include_top=False,
        pooling="flatten",
        classifier=[1024],
    )
    assert (whole.parameters, whole.trainable_parameters) == (126_451_684, 126_398_564)


@pytest.mark.parametrize(
    ("name", "application"),
    [
        ("vgg16", keras.applications.VGG16),
        pytest.param("vgg19", keras.applications.VGG19, marks=pytest.mark.slow),
    ],
)
def test_vgg_takes_the_weights_of_keras_and_then_agrees_with_it(name, application):
    theirs = application(weights=None, input_shape=(64, 64, 3), classes=20)
    ours = zoo.build(name, image_size=(64, 64), channels=3, num_classes=20)
    ours.set_weights(theirs.get_weights())
    image = keras.random.uniform((2, 64, 64, 3), -120, 130, seed=0)
    np.testing.assert_allclose(ours(image), theirs(image), atol=1e-5)
