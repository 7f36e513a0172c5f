"""Trained weights carry over, and what is frozen stays as it was."""

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers

from trainer import transfer, zoo

SIZE = (32, 32)


def resnet(num_classes=5):
    return zoo.build("resnet18", image_size=SIZE, num_classes=num_classes)


def batch(num_classes=5):
    return keras.random.uniform((6, *SIZE, 3), seed=0), np.arange(6) % num_classes


def changed_by_a_step(model):
    """Names of the layers whose weights, statistics included, one step of training changes."""
    before = {layer.name: layer.get_weights() for layer in model.layers}
    optimizer = keras.optimizers.SGD(0.1)
    model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(*batch(model.output_shape[-1]))
    return [
        layer.name
        for layer in model.layers
        if any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    ]


@pytest.mark.parametrize(
    ("name", "options", "firsts"),
    [
        (
            "resnet18",
            {},
            [f"stage{i}_block0_conv1" if i else "stem_conv" for i in range(5)],
        ),
        ("vgg11", {"classifier": [8]}, [f"block{i}_conv1" for i in range(1, 6)]),
        ("lenet5", {}, ["conv1", "conv2"]),
        ("mlp", {}, []),
    ],
)
def test_stages_are_those_that_papers_count(name, options, firsts):
    model = zoo.build(name, image_size=SIZE, features=4, num_classes=5, **options)
    found = [
        next(layer.name for layer in stage if layer.weights) for stage in transfer.stages(model)
    ]
    assert found == firsts


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "mobilenet"])
def test_gates_belong_to_the_trunk_and_pooled_maps_to_the_head(name):
    """Squeeze-and-excite convolves 1x1 maps within a stage, as some heads do behind it."""
    model = zoo.build(f"applications/{name}", image_size=SIZE, num_classes=5)
    trunk = [layer.name for stage in transfer.stages(model) for layer in stage if layer.weights]
    head = [layer.name for layer in model.layers if layer.weights and layer.name not in trunk]
    expected = {
        "mobilenet_v3_small": ["conv_2", "logits"],
        "efficientnet_b0": ["normalization_1", "predictions"],
        "mobilenet": ["conv_preds"],
    }
    assert head == expected[name]
    assert len(transfer.stages(model)) == 5


def test_a_frozen_trunk_keeps_weights_and_statistics():
    model = resnet()
    transfer.freeze(model)
    assert changed_by_a_step(model) == ["logits"]


def test_a_frozen_trunk_computes_in_training_as_in_inference():
    model = resnet()
    transfer.freeze(model)
    images, _ = batch()
    np.testing.assert_allclose(model(images, training=True), model(images), atol=1e-6)


def test_thawing_goes_from_the_end_and_spares_statistics():
    model = resnet()
    transfer.unfreeze(model, 1)
    changed = changed_by_a_step(model)
    assert set(changed) == {
        "stage4_block0_conv1",
        "stage4_block0_conv2",
        "stage4_block0_project",
        "stage4_block1_conv1",
        "stage4_block1_conv2",
        "logits",
    }


def test_normalisation_can_be_thawed_too():
    model = resnet()
    transfer.unfreeze(model, 5, batch_norm=True)
    assert set(changed_by_a_step(model)) == {layer.name for layer in model.layers if layer.weights}


@pytest.mark.parametrize(
    ("name", "last", "message"),
    [
        ("resnet18", 6, "trainable stages must be 0 to 5 in resnet18, not 6"),
        ("mlp", 0, "mlp has no convolutional trunk to freeze"),
    ],
)
def test_stages_that_are_not_there_are_refused(name, last, message):
    model = zoo.build(name, image_size=SIZE, features=4, num_classes=5)
    with pytest.raises(ValueError, match=message):
        transfer.unfreeze(model, last)


@pytest.mark.parametrize("as_run", [True, False])
def test_a_trained_model_gives_every_layer_but_a_head_for_other_classes(tmp_path, as_run):
    trained = resnet(num_classes=7)
    trained.save(tmp_path / "model.keras")
    model = resnet(num_classes=5)
    head = model.get_layer("logits").get_weights()
    loaded = transfer.load_weights(model, tmp_path if as_run else tmp_path / "model.keras")
    assert loaded.left == ("logits",)
    assert len(loaded.taken) == 40
    for name in ("stem_conv", "stage4_block1_conv2_bn"):
        for ours, theirs in zip(
            model.get_layer(name).get_weights(), trained.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], head[0])


def test_a_file_of_weights_fits_the_same_architecture_only(tmp_path):
    path = tmp_path / "some.weights.h5"
    trained = resnet()
    trained.save_weights(path)
    model = resnet()
    assert transfer.load_weights(model, path).left == ()
    images, _ = batch()
    np.testing.assert_array_equal(model(images), trained(images))
    with pytest.raises(ValueError, match="holds the weights of another architecture than resnet18"):
        transfer.load_weights(resnet(num_classes=7), path)


def test_published_weights_of_keras_2_are_taken_by_name(tmp_path):
    published = tf_keras.applications.VGG16(
        weights=None, include_top=False, input_shape=(32, 32, 3)
    )
    published.save_weights(tmp_path / "vgg16_notop.h5")
    model = zoo.build("vgg16", image_size=(32, 32), num_classes=5, classifier=[8])
    loaded = transfer.load_weights(model, tmp_path / "vgg16_notop.h5")
    assert len(loaded.taken) == 13
    assert loaded.left == ("fc1", "logits")
    image = np.random.default_rng(0).normal(size=(1, 32, 32, 3)) * 50
    trunk = keras.Model(model.input, model.get_layer("block5_pool").output)
    np.testing.assert_allclose(trunk(image), published(image), atol=1e-5)


def test_wrong_sources_say_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="expected a run with model.keras, or a .keras"):
        transfer.load_weights(resnet(), tmp_path)
    zoo.build("mlp", features=4, num_classes=5).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="fits no layer of resnet18: names or shapes"):
        transfer.load_weights(resnet(num_classes=3), tmp_path / "other.keras")


def test_a_head_with_normalisation_trains_with_its_statistics():
    model = zoo.build("vgg11", image_size=SIZE, num_classes=5, classifier=[8], batch_norm=True)
    transfer.freeze(model)
    assert set(changed_by_a_step(model)) == {"fc1", "fc1_bn", "logits"}
    frozen = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert [layer.name for layer in frozen if layer.trainable] == ["fc1_bn"]
