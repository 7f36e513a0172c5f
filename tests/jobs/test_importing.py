"""Models that Convoy did not train: imported, published, served and asked."""

import json

import numpy as np
import pytest
import tf_keras
from keras.src.applications import imagenet_utils
from PIL import Image

from jobs import imagenet
from serving.predictions import Prediction, Score


@pytest.fixture
def keras2_model(tmp_path):
    """A Keras-2 file, as one has it from years ago."""
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((12, 12, 3)),
            tf_keras.layers.Conv2D(4, 3, activation="relu"),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(2, activation="softmax"),
        ]
    )
    path = tmp_path / "old.h5"
    with pytest.warns(UserWarning, match="HDF5"):
        model.save(path)
    return path, model


def test_a_keras_2_model_is_published_and_answers_as_before(workplace, keras2_model):
    path, model = keras2_model
    (workplace.path / "labels.txt").write_text("정상\n녹내장\n", encoding="utf-8")
    arguments = [str(path), "--name", "old", "--scaling", "unit", "--labels", "labels.txt"]
    imported = workplace.result("models", "import", *arguments)
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(workplace.path / "image.png")
    with workplace.serving() as address:
        asked = ["image.png", "--model", "old", "--address", address, "--top", "2"]
        [answer] = workplace.result("predict", *asked)
    expected = model(pixels[None] / 255.0).numpy()[0]
    assert answer["version"] == imported["version"]
    assert answer["label"] == ["정상", "녹내장"][expected.argmax()]
    for entry in answer["top"]:
        assert entry["probability"] == pytest.approx(expected[entry["class_id"]], abs=1e-5)


def test_a_model_of_any_size_is_imported_for_images_that_are_not_square(workplace):
    model = tf_keras.Sequential(
        [
            tf_keras.layers.Input((None, None, 3)),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(2, activation="softmax"),
        ]
    )
    model.save(workplace.path / "any.keras")
    arguments = ["any.keras", "--name", "any", "--image-size", "10", "20"]
    version = workplace.result("models", "import", *arguments)["version"]
    card = workplace.path / "models" / "any" / str(version) / "assets.extra" / "card.json"
    assert json.loads(card.read_text())["name"] == "any"
    done = workplace("models", "import", "any.keras", "--name", "x", "--image-size", "0", "20")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_names_are_read_as_editors_write_them_and_each_once(workplace, keras2_model):
    path, _ = keras2_model
    names = workplace.path / "labels.txt"
    names.write_bytes("\ufeff고양이\r\n개\r\n".encode())
    workplace.result("models", "import", str(path), "--name", "old", "--labels", "labels.txt")
    [written] = workplace.path.glob("models/old/*/assets.extra/labels.txt")
    assert written.read_bytes() == "고양이\n개\n".encode()
    names.write_text("cat\ncat\n")
    done = workplace("models", "import", str(path), "--name", "b", "--labels", "labels.txt")
    assert done.returncode == 2
    assert "labels.txt names cat twice" in done.stderr


def test_what_is_no_model_is_refused_with_one_line(workplace):
    (workplace.path / "x.h5").write_text("no model")
    done = workplace("models", "import", "x.h5", "--name", "x")
    assert done.returncode == 2
    assert "x.h5" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (workplace.path / "models" / "x").exists()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("importing.IMPORT_SECONDS = 0", "old.h5 took more than 0 s"),
        ("importing.IMPORT_MEMORY = 0", "old.h5 took more than 0 MB, half of the memory"),
        ("importing.legacy.load = lambda *_: os.abort()", "ended the process that did it"),
    ],
)
def test_a_file_that_takes_too_much_of_its_reader_is_refused(
    forkserver, tmp_path, keras2_model, fault, message
):
    code = f"""
import os
from pathlib import Path
from jobs import importing
from serving.store import Store
{fault}
importing.publish_file(Path("old.h5"), "old", Store("models"), importing.Origin())
"""
    done = forkserver.run("-c", code, cwd=tmp_path)
    assert message in done.stderr
    assert not (tmp_path / "models" / "old").exists()


def prediction(class_id: int, label: str) -> Prediction:
    top = (Score(label, class_id, 0.6), Score("7", 7, 0.3))
    return Prediction(label, class_id, 0.6, top, version=1)


def test_imagenet_numbers_get_their_names(monkeypatch):
    index = {str(i): [f"n{i:08}", f"animal_{i}"] for i in range(1000)}
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX", index)  # where Keras keeps what it fetched
    [named] = imagenet.name_classes([prediction(42, "42")])
    assert named.label == "animal_42"
    assert [(s.label, s.class_id, s.probability) for s in named.top] == [
        ("animal_42", 42, 0.6),
        ("animal_7", 7, 0.3),
    ]


def test_names_of_ones_own_are_not_taken_for_imagenet():
    with pytest.raises(ValueError, match="answers 'cat', no ImageNet class number"):
        imagenet.name_classes([prediction(3, "cat")])
