"""The rows of an output layer go by the names of classes, not by their places."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dataset import DataInfo
from trainer import network
from trainer.config import ModelConfig

TRAINED = ("ant", "bee", "cat", "dog")
INFO = DataInfo("made", "0", TRAINED, {}, (4,))
CONFIG = ModelConfig(name="mlp", options={"units": [6]})
INPUTS = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves: a network, and what its data were."""
    place = tmp_path_factory.mktemp("run")
    network.build(CONFIG, INFO).save(place / "model.keras")
    (place / "data.json").write_text(json.dumps({"class_names": TRAINED}))
    return place


def started(source: Path, names: tuple[str, ...]) -> keras.Model:
    config = CONFIG.model_copy(update={"weights": str(source)})
    return network.start(config, replace(INFO, class_names=names))


def answers(model: keras.Model, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return dict(zip(names, model(INPUTS).numpy().T, strict=True))


@settings(max_examples=6, deadline=None)
@given(st.sets(st.sampled_from(TRAINED), min_size=2).flatmap(
    lambda chosen: st.permutations(sorted(chosen)).map(tuple)))  # fmt: skip
def test_predictions_by_name_are_unchanged_for_any_classes_in_any_order(run, chosen):
    before = answers(keras.saving.load_model(run / "model.keras", compile=False), TRAINED)
    whole = sum(before[name] for name in chosen)
    for name, probabilities in answers(started(run, chosen), chosen).items():
        np.testing.assert_allclose(probabilities, before[name] / whole, rtol=1e-5)


def test_a_new_class_starts_anew_and_the_others_keep_their_rows(run, caplog):
    with caplog.at_level(logging.INFO):
        model = started(run, ("wasp", "cat", "ant"))
    assert "logits by the names of classes; anew: wasp" in caplog.text
    kernel, _ = model.get_layer("logits").get_weights()
    trained = keras.saving.load_model(run / "model.keras", compile=False)
    rows, _ = trained.get_layer("logits").get_weights()
    np.testing.assert_array_equal(kernel[:, 1:], rows[:, [2, 0]])
    assert not (kernel[:, [0]] == rows).all(axis=0).any()


def test_classes_that_share_no_name_leave_the_head_as_it_starts(run, caplog):
    with caplog.at_level(logging.INFO):
        model = started(run, ("a", "b", "c", "d"))
    assert "weights: logits start anew" in caplog.text
    trained = keras.saving.load_model(run / "model.keras", compile=False)
    mine, theirs = (m.get_layer("logits").get_weights()[0] for m in (model, trained))
    assert not np.array_equal(mine, theirs)


def test_a_file_that_does_not_say_its_classes_is_taken_with_a_warning(run, tmp_path, caplog):
    path = tmp_path / "some.keras"
    path.write_bytes((run / "model.keras").read_bytes())
    with caplog.at_level(logging.WARNING):
        started(path, ("a", "b", "c", "d"))
    assert "does not say its classes; logits takes its rows in their order" in caplog.text
