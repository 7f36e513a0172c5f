import time
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import network
from trainer.config import ModelConfig, TrainConfig
from trainer.fit import fit
from trainer.input_report import InputReport, read

MLP = ModelConfig(name="mlp")
TRAIN = TrainConfig(epochs=2, batch_size=9, early_stopping_patience=None)
PAUSE = 0.05  # seconds


def slowed(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches that each take a while to come."""

    def pause(inputs: np.ndarray) -> np.ndarray:
        time.sleep(PAUSE)
        return inputs

    def slow(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        waited = tf.numpy_function(pause, [inputs], inputs.dtype)
        return tf.ensure_shape(waited, inputs.shape), labels

    return batches.map(slow)


def test_a_slow_source_shows_as_waiting(iris, tmp_path):
    slow = replace(iris, train_epochs=lambda first, skip: slowed(iris.train_epochs(first)))
    fit(network.build(MLP, iris.info), slow, TRAIN, tmp_path)
    report = read(tmp_path)
    assert [entry["epoch"] for entry in report] == [1, 2]
    for entry in report:
        assert entry["waiting_seconds"] >= 0.9 * PAUSE * iris.steps_per_epoch
        assert entry["waiting_share"] == pytest.approx(entry["waiting_seconds"] / entry["seconds"])


def test_a_source_that_is_ready_is_not_waited_for(tmp_path):
    batch = tf.zeros((8, 4)), tf.zeros((8,), tf.int64)
    ready = tf.data.Dataset.from_tensors(batch).cache().repeat()
    model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    report = InputReport(tmp_path)

    def pause_after(batch: int, logs: dict[str, float] | None = None) -> None:
        time.sleep(PAUSE)  # what a larger network would compute

    pause = keras.callbacks.LambdaCallback(on_train_batch_end=pause_after)
    steps = {"epochs": 2, "steps_per_epoch": 10}
    model.fit(report.watch(ready), **steps, shuffle=False, verbose=0, callbacks=[report, pause])
    assert report.epochs[1]["waiting_share"] < 0.1
    assert report.epochs[1]["seconds"] > 9 * PAUSE


def test_a_continued_run_keeps_what_was_measured_before(iris, tmp_path):
    first = TRAIN.model_copy(update={"epochs": 1})
    for part in (first, TRAIN):
        fit(network.build(MLP, iris.info), iris, part, tmp_path)
    assert [entry["epoch"] for entry in read(tmp_path)] == [1, 2]
