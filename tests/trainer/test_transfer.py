"""Trained weights carry over, and what is frozen stays as it was."""

import keras
import numpy as np
import pytest
import tf_keras
from keras import layers

from trainer import flops, transfer, zoo

SIZE = (32, 32)


@pytest.fixture(scope="module")
def resnet() -> keras.Model:
    """For tests that freeze or thaw its whole trunk before they look at it."""
    return zoo.build("resnet18", image_size=SIZE, num_classes=5)


def lenet(num_classes=5):
    return zoo.build("lenet5", image_size=SIZE, num_classes=num_classes, batch_norm=True)


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
    def look() -> list[str]:
        model = zoo.build(name, image_size=SIZE, features=4, num_classes=5, **options)
        stages = transfer.stages(model)
        return [next(layer.name for layer in stage if layer.weights) for stage in stages]

    assert flops.without_weights(look) == firsts


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "efficientnet_b0", "mobilenet"])
def test_gates_belong_to_the_trunk_and_pooled_maps_to_the_head(name):
    """Squeeze-and-excite convolves 1x1 maps within a stage, as some heads do behind it."""

    def look() -> tuple[list[str], int]:
        model = zoo.build(f"applications/{name}", image_size=SIZE, num_classes=5)
        stages = transfer.stages(model)
        trunk = [layer.name for stage in stages for layer in stage if layer.weights]
        head = [layer.name for layer in model.layers if layer.weights and layer.name not in trunk]
        return head, len(stages)

    expected = {
        "mobilenet_v3_small": ["conv_2", "logits"],
        "efficientnet_b0": ["normalization_1", "predictions"],
        "mobilenet": ["conv_preds"],
    }
    assert flops.without_weights(look) == (expected[name], 5)


def test_a_frozen_trunk_keeps_weights_and_statistics(resnet):
    transfer.freeze(resnet)
    assert changed_by_a_step(resnet) == ["logits"]


def test_a_frozen_trunk_computes_in_training_as_in_inference(resnet):
    transfer.freeze(resnet)
    images, _ = batch()
    np.testing.assert_allclose(resnet(images, training=True), resnet(images), atol=1e-6)


def test_thawing_goes_from_the_end_and_spares_statistics(resnet):
    transfer.unfreeze(resnet, 1)
    changed = changed_by_a_step(resnet)
    assert set(changed) == {
        "stage4_block0_conv1",
        "stage4_block0_conv2",
        "stage4_block0_project",
        "stage4_block1_conv1",
        "stage4_block1_conv2",
        "logits",
    }


def test_normalisation_can_be_thawed_too(resnet):
    transfer.unfreeze(resnet, 5, batch_norm=True)
    weighted = {layer.name for layer in resnet.layers if layer.weights}
    assert set(changed_by_a_step(resnet)) == weighted


@pytest.mark.parametrize(
    ("name", "last", "message"),
    [
        ("resnet18", 6, "trainable stages must be 0 to 5 in resnet18, not 6"),
        ("mlp", 0, "mlp has no convolutional trunk to freeze"),
    ],
)
def test_stages_that_are_not_there_are_refused(name, last, message):
    def thaw() -> None:
        model = zoo.build(name, image_size=SIZE, features=4, num_classes=5)
        transfer.unfreeze(model, last)

    with pytest.raises(ValueError, match=message):
        flops.without_weights(thaw)


@pytest.mark.parametrize("as_run", [True, False])
def test_a_trained_model_gives_every_layer_but_a_head_for_other_classes(tmp_path, as_run):
    trained = lenet(num_classes=7)
    trained.save(tmp_path / "model.keras")
    model = lenet(num_classes=5)
    head = model.get_layer("logits").get_weights()
    loaded = transfer.load_weights(model, tmp_path if as_run else tmp_path / "model.keras")
    assert loaded.left == ("logits",)
    assert len(loaded.taken) == 8
    for name in ("conv1", "conv2_bn"):
        for ours, theirs in zip(
            model.get_layer(name).get_weights(), trained.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], head[0])


def test_a_file_of_weights_fits_the_same_architecture_only(tmp_path):
    path = tmp_path / "some.weights.h5"
    trained = lenet()
    trained.save_weights(path)
    model = lenet()
    assert transfer.load_weights(model, path).left == ()
    images, _ = batch()
    np.testing.assert_array_equal(model(images), trained(images))
    with pytest.raises(ValueError, match="holds the weights of another architecture than lenet5"):
        transfer.load_weights(lenet(num_classes=7), path)


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


def keras_lenet(output: str) -> tf_keras.Model:
    """The layers of `lenet5` by its names, with an output layer of another."""
    return tf_keras.Sequential(
        [
            tf_keras.layers.Input((*SIZE, 3)),
            tf_keras.layers.Conv2D(6, 5, activation="sigmoid", name="conv1"),
            tf_keras.layers.AveragePooling2D(),
            tf_keras.layers.Conv2D(16, 5, activation="sigmoid", name="conv2"),
            tf_keras.layers.AveragePooling2D(),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(120, "sigmoid", name="dense1"),
            tf_keras.layers.Dense(84, "sigmoid", name="dense2"),
            tf_keras.layers.Dense(5, "softmax", name=output),
        ]
    )


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("whole", [True, False])
def test_the_output_layer_that_keras_calls_predictions_is_taken(tmp_path, whole):
    trained = keras_lenet("predictions")
    path = tmp_path / "published.h5"
    trained.save(path) if whole else trained.save_weights(path)
    model = zoo.build("lenet5", image_size=SIZE, num_classes=5)
    loaded = transfer.load_weights(model, path)
    assert (loaded.left, loaded.doubt) == ((), None)
    images, _ = batch()
    np.testing.assert_allclose(model(images), trained(np.asarray(images)), atol=1e-6)


def test_an_output_layer_left_untrained_that_would_fit_is_told(tmp_path):
    keras_lenet("answers").save_weights(tmp_path / "published.h5")
    loaded = transfer.load_weights(
        zoo.build("lenet5", image_size=SIZE, num_classes=5), tmp_path / "published.h5"
    )
    assert loaded.left == ("logits",)
    assert loaded.doubt is not None
    assert "the output layer 'logits' starts untrained" in loaded.doubt
    assert "in 'answers': layers are matched by their names" in loaded.doubt
    other = zoo.build("lenet5", image_size=SIZE, num_classes=7)
    assert transfer.load_weights(other, tmp_path / "published.h5").doubt is None


def test_layers_inside_a_model_that_is_a_layer_are_taken(tmp_path):
    trunk = zoo.build("lenet5", image_size=SIZE, num_classes=5)
    nested = keras.Sequential([keras.Input((*SIZE, 3)), trunk])
    nested.save(tmp_path / "nested.keras")
    model = zoo.build("lenet5", image_size=SIZE, num_classes=5)
    assert transfer.load_weights(model, tmp_path / "nested.keras").left == ()
    images, _ = batch()
    np.testing.assert_array_equal(model(images), trunk(images))


def test_a_file_that_is_cut_off_is_named(tmp_path):
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"cut\.h5 cannot be read as Keras 2's weights"):
        transfer.load_weights(lenet(), tmp_path / "cut.h5")


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["VGG16", "VGG19"])
def test_a_whole_published_vgg_is_taken_and_then_agrees(tmp_path, builder):
    published = getattr(tf_keras.applications, builder)(
        weights=None, input_shape=(32, 32, 3), classes=20
    )
    published.save_weights(tmp_path / "published.h5")
    model = zoo.build(builder.lower(), image_size=SIZE, num_classes=20)
    assert transfer.load_weights(model, tmp_path / "published.h5").left == ()
    image = np.random.default_rng(0).normal(size=(2, 32, 32, 3)) * 50
    np.testing.assert_allclose(model(image), published(image), atol=1e-5)


def test_wrong_sources_say_what_was_expected(tmp_path):
    with pytest.raises(ValueError, match="expected a run with model.keras, or a .keras"):
        transfer.load_weights(lenet(), tmp_path)
    zoo.build("mlp", features=4, num_classes=5).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="fits no layer of lenet5: names or shapes"):
        transfer.load_weights(lenet(num_classes=3), tmp_path / "other.keras")


def test_a_head_with_normalisation_trains_with_its_statistics():
    model = lenet()
    transfer.freeze(model)
    assert set(changed_by_a_step(model)) == {"dense1", "dense1_bn", "dense2", "dense2_bn", "logits"}
    frozen = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert [layer.name for layer in frozen if layer.trainable] == ["dense1_bn", "dense2_bn"]
