"""`run_fn` as a TFX Trainer calls it, on shards of records as TFX's ExampleGen writes them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from tests.support.tfx_component import arguments, write_examples
from trainer.config import TrainConfig
from trainer.tfx import limited_epochs, read_settings, run_fn


@pytest.fixture(scope="module")
def place(once, data_dir) -> Path:
    """Digits as gzip-compressed shards of tf.Example, to be read only."""
    return once.made("tfx", lambda path: write_examples(path, data_dir, of_each=25))


@pytest.fixture(scope="module")
def trained(place, tmp_path_factory) -> SimpleNamespace:
    model = tmp_path_factory.mktemp("tfx") / "model" / "Format-Serving"
    best = hyperparameters({"train.epochs": 12, "train.batch_size": 10})
    fn_args = arguments(place, hyperparameters=best, serving_model_dir=str(model))
    run_fn(fn_args)
    return fn_args


def hyperparameters(values: dict[str, Any]) -> dict[str, Any]:
    """What TFX's Tuner hands on: a search's best values, with Hyperband's own among them."""
    found = keras_tuner.HyperParameters()
    for name, value in values.items():
        found.Fixed(name, value)
    found.values["tuner/epochs"] = 7
    return found.get_config()


def test_the_model_lies_where_the_pusher_takes_it_and_answers_examples(place, trained):
    model = tf.saved_model.load(trained.serving_model_dir)
    assert set(model.signatures) >= {"serving_default", "image_bytes", "tf_example"}
    shards = [str(shard) for shard in (place / "examples" / "Split-eval").iterdir()]
    records = list(tf.data.TFRecordDataset(shards, "GZIP").as_numpy_iterator())
    answers = model.signatures["tf_example"](examples=tf.constant(records))
    truth = [
        tf.train.Example.FromString(record).features.feature["label"].int64_list.value[0]
        for record in records
    ]
    assert np.mean(answers["class_id"].numpy() == truth) > 0.5  # by chance: 0.1


def test_the_best_hyperparameters_of_a_tuner_are_trained_with(trained):
    card = Path(trained.serving_model_dir) / "assets.extra" / "card.json"
    described = json.loads(card.read_text())
    assert described["train"]["epochs"] == 12
    assert described["validation"]["epoch"] <= 12
    assert described["data"]["counts"]["validation"] == 100  # every example of eval_files
    assert sum(described["data"]["counts"].values()) == 100 + 100


def test_a_trainer_started_again_goes_on(trained):
    """The last epoch is on disk, so nothing is left to train: the weights are the same."""
    before = tf.saved_model.load(trained.serving_model_dir)
    run_fn(trained)
    after = tf.saved_model.load(trained.serving_model_dir)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1)), tf.uint8)
    answers = [
        model.signatures["serving_default"](image=images)["probabilities"]
        for model in (before, after)
    ]
    assert np.array_equal(*answers)


def test_values_are_set_by_path_and_options_stay_with_their_architecture(place):
    values = {"model.name": "mnist_cnn", "train.optimizer": "sgd", "data.augment.rotation_range": 5}
    settings = read_settings(arguments(place, hyperparameters=hyperparameters(values)))
    assert (settings.model.name, settings.model.options) == ("mnist_cnn", {})
    assert settings.train.optimizer == "sgd"
    assert settings.data.augment.rotation_range == 5
    assert settings.data.image_size == (16, 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"custom_config": None}, r'custom_config\["convoy"\] must hold sections'),
        ({"custom_config": {"convoy": {"trian": {}}}}, "the keys data, model, train, tune"),
        ({"custom_config": {"convoy": {"model": {}}}}, "name\n  Field required"),
        ({"train_files": None}, "train_files and eval_files must each name files"),
        ({"eval_files": ["/nowhere/*"]}, "no file matches /nowhere"),
        ({"transform_graph_path": "t"}, "leave Transform out"),
        ({"base_model": "m"}, r"set model\.weights to a \.keras file instead"),
        ({"hyperparameters": {"values": {"lr": 1}}}, "'lr' is no field of a job"),
        ({"hyperparameters": {"values": {"train.epochs": 0}}}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_done_is_said(place, given, message):
    with pytest.raises(ValueError, match=message):
        run_fn(arguments(place, **given))


@pytest.mark.parametrize(("steps", "epochs"), [(None, 10), (0, 10), (25, 2), (5, 1), (10**6, 10)])
def test_train_steps_limit_the_epochs(steps, epochs):
    assert limited_epochs(TrainConfig(epochs=10), steps, steps_per_epoch=10) == epochs


def test_files_and_models_may_lie_elsewhere(place):
    """TensorFlow's file system in memory stands for a bucket."""
    for path in (place / "examples").rglob("*-0000[01]-*.gz"):
        target = f"ram://bucket/{path.relative_to(place)}"
        tf.io.gfile.makedirs(target.rpartition("/")[0])
        tf.io.gfile.copy(str(path), target)
    fn_args = arguments("ram://bucket", model_run_dir="ram://bucket/run/4")
    run_fn(fn_args)
    assert tf.io.gfile.exists("ram://bucket/model/Format-Serving/saved_model.pb")
    assert tf.io.gfile.exists("ram://bucket/model/Format-Serving/assets.extra/manifest.json")
    assert tf.io.gfile.exists("ram://bucket/run/4/history.csv")
