import hashlib
import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from pipeline import preprocess
from serving.errors import RequestError
from serving.servable import SavedModel
from tests.support.mutations import corpus
from trainer import network
from trainer.config import ModelConfig
from trainer.export import export

LENET = ModelConfig(name="lenet5", options={"activation": "relu"})
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(digits, tmp_path_factory):
    """A network, its SavedModel loaded again, and the directory."""
    model = network.build(LENET, digits.info)
    directory = export(
        model, digits.info, digits.prepare, tmp_path_factory.mktemp("x") / "e", {"run": "1"}
    )
    return model, tf.saved_model.load(str(directory)), directory


def encode(pixels: np.ndarray, file_format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, format=file_format)
    return buffer.getvalue()


def close(one, other) -> bool:
    return np.allclose(one, other, rtol=0, atol=1e-5)


def test_every_signature_gives_what_the_network_gives(exported):
    model, loaded, _ = exported
    expected = model(preprocess.scale(PIXELS, "unit"), training=False).numpy()
    files = tf.constant([encode(image) for image in PIXELS])
    examples = tf.constant([tf_example(image=encode(image)) for image in PIXELS])
    answers = {
        "serving_default": loaded.signatures["serving_default"](image=tf.constant(PIXELS)),
        "image_bytes": loaded.signatures["image_bytes"](image_bytes=files),
        "tf_example": loaded.signatures["tf_example"](examples=examples),
    }
    for name, answer in answers.items():
        assert close(answer["probabilities"], expected), name
        assert answer["probabilities"].dtype == tf.float32
        assert np.array_equal(answer["class_id"], expected.argmax(1))
        assert answer["label"].numpy().tolist() == [str(i).encode() for i in expected.argmax(1)]


def test_files_of_any_size_and_colour_are_taken(exported):
    _, loaded, _ = exported
    wide = np.random.default_rng(1).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, format="JPEG")
    answer = loaded.signatures["image_bytes"](image_bytes=tf.constant([buffer.getvalue()]))
    assert answer["probabilities"].shape == (1, 10)


def test_class_ids_are_named(exported):
    _, loaded, _ = exported
    answer = loaded.signatures["class_labels"](class_id=tf.constant([9, 0], tf.int64))
    assert answer["label"].numpy().tolist() == [b"9", b"0"]


def test_the_manifest_covers_every_other_file(exported):
    _, _, directory = exported
    manifest = json.loads((directory / "assets.extra" / "manifest.json").read_text())
    files = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == files - {"assets.extra/manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest


def test_labels_and_card_lie_beside_the_model(exported):
    _, _, directory = exported
    labels = (directory / "assets.extra" / "labels.txt").read_text().split()
    assert labels == [str(digit) for digit in range(10)]
    assert json.loads((directory / "assets.extra" / "card.json").read_text()) == {"run": "1"}


def test_warm_up_requests_are_prediction_logs_that_the_model_answers(exported):
    _, loaded, directory = exported
    records = tf.data.TFRecordDataset(str(directory / "assets.extra/tf_serving_warmup_requests"))
    names = []
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(t)) for name, t in request.inputs.items()}
        answer = loaded.signatures[request.model_spec.signature_name](**inputs)
        assert answer["probabilities"].shape == (1, 10)
        names.append(request.model_spec.signature_name)
    assert names == ["serving_default", "image_bytes"]


def test_vectors_have_their_own_signatures(iris, tmp_path):
    model = network.build(ModelConfig(name="mlp"), iris.info)
    loaded = tf.saved_model.load(str(export(model, iris.info, iris.prepare, tmp_path / "e", {})))
    assert set(loaded.signatures) == {"serving_default", "tf_example", "class_labels"}
    rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]], np.float32)
    expected = model(rows).numpy()
    assert close(loaded.signatures["serving_default"](features=rows)["probabilities"], expected)
    examples = tf.constant([tf_example(features=row) for row in rows])
    assert close(loaded.signatures["tf_example"](examples=examples)["probabilities"], expected)


def test_a_row_that_is_no_number_is_refused_and_never_labelled(iris, tmp_path):
    model = network.build(ModelConfig(name="mlp"), iris.info)
    served = SavedModel(export(model, iris.info, iris.prepare, tmp_path / "e", {}))
    for value in (np.nan, np.inf, -np.inf):
        rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, value, 2.3]], np.float32)
        examples = np.array([tf_example(features=row) for row in rows], object)
        inputs = {"serving_default": {"features": rows}, "tf_example": {"examples": examples}}
        for name, given in inputs.items():
            with pytest.raises(RequestError, match="features of a row : Tensor had") as refused:
                served.predict(name, given)
            assert refused.value.code == "INVALID_ARGUMENT"


def test_an_answer_that_is_no_number_is_never_labelled(iris, tmp_path):
    model = network.build(ModelConfig(name="mlp"), iris.info)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    served = SavedModel(export(model, iris.info, iris.prepare, tmp_path / "e", {}))
    with pytest.raises(RequestError, match="the network's answer to a row : Tensor had NaN"):
        served.predict("serving_default", {"features": np.ones((1, 4), np.float32)})


def test_a_file_that_would_end_the_process_is_refused_by_name(exported):
    _, _, directory = exported
    served, (*_, moving) = SavedModel(directory), corpus("WebP")
    with pytest.raises(RequestError, match="an animated WebP; save one of its frames") as refused:
        served.predict("image_bytes", {"image_bytes": np.array([moving, None], object)[:1]})
    assert refused.value.code == "INVALID_ARGUMENT"


def test_what_is_no_example_is_refused_with_words_that_fit_into_a_status(exported):
    served, whole = SavedModel(exported[2]), tf_example(image=encode(PIXELS[0]))
    cases = dict.fromkeys((b"words", whole[:40], b"\xff" * 100_000), "no serialized tf.Example")
    for example, words in {**cases, b"": r"Feature: image .* is required"}.items():
        given = {"examples": np.array([whole, example, None], object)[:2]}
        with pytest.raises(RequestError, match=words) as refused:
            served.predict("tf_example", given)
        assert refused.value.code == "INVALID_ARGUMENT"
        assert len(refused.value.message) < 500


def test_training_in_bfloat16_is_exported_in_float32(digits, tmp_path):
    trained = network.build(LENET, digits.info, "mixed_bfloat16")
    twin = network.in_float32(trained, LENET, digits.info)
    loaded = tf.saved_model.load(str(export(twin, digits.info, digits.prepare, tmp_path / "e", {})))
    answer = loaded.signatures["serving_default"](image=tf.constant(PIXELS))["probabilities"]
    assert close(answer, twin(preprocess.scale(PIXELS, "unit")))
    assert np.allclose(answer, trained(preprocess.scale(PIXELS, "unit")), atol=0.02)
    assert {layer.compute_dtype for layer in twin.layers} == {"float32"}


def tf_example(**values) -> bytes:
    features = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        else:
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        features[name] = feature
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
