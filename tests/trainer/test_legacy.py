"""Models of Keras 2 come in from each of their formats and answer as before."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from trainer import legacy

IMAGES = np.random.default_rng(0).random((4, 12, 12, 1)).astype("float32")


def network(*last, channels=1, side=12):
    return tf_keras.Sequential(
        [
            tf_keras.layers.Input((side, side, channels)),
            tf_keras.layers.Conv2D(4, 3, activation="relu"),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.GlobalAveragePooling2D(),
            *last,
        ]
    )


def softmax(classes=3):
    return tf_keras.layers.Dense(classes, activation="softmax")


@pytest.fixture(params=["model.h5", "model.keras", "saved_model"])
def saved(request, tmp_path):
    model = network(softmax())
    path = tmp_path / request.param
    save_format = {"model.h5": "h5", "model.keras": "keras", "saved_model": "tf"}
    model.save(path, save_format=save_format[request.param])
    return path, model(IMAGES).numpy()


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_each_format_is_read_and_exported_with_the_same_answers(saved, tmp_path):
    path, expected = saved
    imported, info = legacy.load(path, class_names=["a", "b", "c"])
    assert (info.shape, info.class_names) == ((12, 12, 1), ("a", "b", "c"))
    assert len(info.digest) == 64
    np.testing.assert_allclose(imported(IMAGES), expected, atol=1e-6)
    archive = keras.export.ExportArchive()
    archive.track(imported)
    spec = [tf.TensorSpec((None, 12, 12, 1), tf.float32)]
    archive.add_endpoint("serve", lambda x: imported(x, training=False), input_signature=spec)
    archive.write_out(str(tmp_path / "export"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "export"))
    np.testing.assert_allclose(served.serve(IMAGES), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("last", "probabilities"),
    [
        (tf_keras.layers.Dense(3), lambda y: np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)),
        (
            tf_keras.Sequential([tf_keras.layers.Dense(3), tf_keras.layers.Softmax()]),
            lambda y: y,
        ),
        (tf_keras.layers.Dense(1, activation="sigmoid"), lambda y: np.hstack([1 - y, y])),
    ],
)
def test_logits_and_a_single_sigmoid_become_probabilities(tmp_path, last, probabilities):
    model = network(last)
    model.save(tmp_path / "model.keras")
    imported, info = legacy.load(tmp_path / "model.keras")
    expected = probabilities(model(IMAGES).numpy())
    np.testing.assert_allclose(imported(IMAGES), expected, atol=1e-6)
    assert info.class_names == tuple(map(str, range(expected.shape[1])))


def test_a_model_for_images_of_any_size_needs_the_size(tmp_path):
    network(softmax(), side=None).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="give image_size: the model takes any"):
        legacy.load(tmp_path / "model.keras")
    _, info = legacy.load(tmp_path / "model.keras", image_size=(20, 30))
    assert info.shape == (20, 30, 1)


def test_a_model_for_vectors_keeps_their_length(tmp_path):
    model = tf_keras.Sequential([tf_keras.layers.Input((4,)), softmax()])
    model.save(tmp_path / "model.keras")
    assert legacy.load(tmp_path / "model.keras")[1].shape == (4,)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        (lambda: network(softmax()), {"class_names": ["a"]}, "has 3 classes, not the 1 named"),
        (lambda: network(softmax()), {"image_size": (9, 9)}, r"images of \(12, 12\), not \(9, 9\)"),
        (lambda: network(softmax(), channels=2), {}, "2 channels: expected 1 or 3"),
        (lambda: network(tf_keras.layers.Dense(3, activation="relu")), {}, "activation is relu"),
        (lambda: network(), {}, "activation is globalaveragepooling2d of 4: expected softmax"),
        (
            lambda: network(tf_keras.layers.Reshape((2, 2))),
            {},
            "expected one vector of classes an example",
        ),
    ],
)
def test_models_that_do_not_classify_are_refused(tmp_path, model, arguments, message):
    model().save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=message):
        legacy.load(tmp_path / "model.keras", **arguments)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_files_that_are_no_model_of_keras_2_are_refused_with_the_reason(tmp_path):
    (tmp_path / "text.h5").write_text("no model")
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "three.keras")
    network(softmax()).save_weights(tmp_path / "weights.h5")
    code = tf_keras.layers.Lambda(lambda x: x * 2)
    network(code, softmax()).save(tmp_path / "code.h5")
    network(code, softmax()).save(tmp_path / "code.keras")
    network(code, softmax()).save(tmp_path / "code", save_format="tf")
    for name, message in {
        "text.h5": "is no model of Keras 2: expected an .h5 or .keras file",
        "absent.h5": "is no model of Keras 2",
        "three.keras": "was saved by Keras 3.* needs no import",
        "weights.h5": "No model config found in the file",
        "code.h5": "'Lambda'.*, whose code would run on import",
        "code.keras": "'Lambda'.*, whose code would run on import",
        "code": "'Lambda'.*, whose code would run on import",
    }.items():
        with pytest.raises(ValueError, match=message):
            legacy.load(tmp_path / name)


class Own(tf_keras.Model):
    """A network whose forward pass is a method, as Keras' guide calls it: subclassed."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = softmax()

    def call(self, inputs, training=False):
        return self.dense(tf.reshape(inputs, [-1, 144]))


def test_saved_models_that_are_no_network_of_layers_are_refused_with_one_line(tmp_path):
    own = Own()
    own(IMAGES)
    own.save(tmp_path / "own", save_format="tf")
    plain = tf.Module()
    plain.scale = tf.Variable(2.0)
    tf.saved_model.save(plain, str(tmp_path / "plain"))
    three = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, "softmax")])
    three.export(str(tmp_path / "three"), verbose=False)
    for name, message in {
        "own": "own has a layer or object of class_name 'Own'",
        "plain": "plain is a SavedModel that Keras 2 did not write",
        "three": "three is a SavedModel that Keras 2 did not write",
    }.items():
        with pytest.raises(ValueError, match=message) as refused:
            legacy.load(tmp_path / name)
        assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["half.h5", "half.keras", "half"])
def test_half_precision_of_training_is_no_matter_of_the_import(tmp_path, policy, name):
    tf_keras.mixed_precision.set_global_policy(policy)
    try:
        head = tf_keras.Sequential([tf_keras.layers.Dense(3), tf_keras.layers.Softmax()])
        model = network(tf_keras.layers.Rescaling(2.0), head)
        model.save(tmp_path / name, save_format={"half": "tf"}.get(name))
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    imported, _ = legacy.load(tmp_path / name)
    whole = network(
        tf_keras.layers.Rescaling(2.0), tf_keras.layers.Dense(3), tf_keras.layers.Softmax()
    )
    whole.set_weights(model.get_weights())
    np.testing.assert_allclose(imported(IMAGES), whole(IMAGES), atol=1e-6)
    dtypes = {layer.compute_dtype for layer in imported.model._flatten_layers()}
    assert dtypes == {"float32"}
