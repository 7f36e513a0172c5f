from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.objective import MAIN, with_targets
from trainer.targets import balanced, class_weights, count_labels, training_targets


def one(batches: tf.data.Dataset) -> tuple[np.ndarray, ...]:
    return next(batches.take(1).as_numpy_iterator())


def test_a_job_without_either_trains_on_the_batches_as_they_are(digits):
    batches = digits.train_epochs(0)
    assert training_targets(batches, TrainConfig(), digits.source) is batches


def test_smoothing_spreads_its_share_over_all_classes(digits):
    _, labels = one(digits.train_epochs(0))
    config = TrainConfig(label_smoothing=0.2)
    _, taught = one(training_targets(digits.train_epochs(0), config, digits.source))
    assert taught.sum(axis=1) == pytest.approx(np.ones(len(labels)))
    assert np.array_equal(taught.argmax(axis=1), labels)
    assert np.unique(taught.round(6)) == pytest.approx([0.02, 0.82])


def test_counts_are_those_of_the_training_split(digits):
    counts = count_labels(digits.source.slices["train"].read(), 10)
    seen = np.concatenate([labels for _, labels in digits.train.as_numpy_iterator()])
    assert counts.sum() == digits.info.counts["train"]
    assert (counts >= np.bincount(seen, minlength=10)).all()  # training drops a remainder


def test_balanced_classes_weigh_alike_in_sum():
    counts = np.array([10, 30, 0, 60])
    weights = balanced(counts)
    assert (weights * counts).tolist() == pytest.approx([100 / 3, 100 / 3, 0, 100 / 3], rel=1e-6)
    assert np.average(weights, weights=counts) == pytest.approx(1)


def test_an_example_weighs_what_its_class_weighs(digits):
    config = TrainConfig(class_weights={"3": 5.0})
    _, labels, weights = one(training_targets(digits.train_epochs(0), config, digits.source))
    assert np.array_equal(weights, np.where(labels == 3, 5, 1).astype("float32"))


def test_a_mixed_image_weighs_by_the_shares_of_its_classes(digits):
    shares = tf.constant([[0.0] * 3 + [0.25, 0.75] + [0.0] * 5])
    mixed = tf.data.Dataset.from_tensors((tf.zeros((1, 16, 16, 1)), shares))
    config = TrainConfig(class_weights={"3": 5.0}, label_smoothing=0.1)
    _, taught, weights = one(training_targets(mixed, config, digits.source))
    assert weights == pytest.approx([0.25 * 5 + 0.75])
    assert taught == pytest.approx(shares.numpy() * 0.9 + 0.01)


def test_a_weight_for_no_class_is_refused_with_the_names(digits):
    with pytest.raises(ValueError, match=r"no class is named ten\. The classes: 0, 1, 2"):
        class_weights({"ten": 2.0, "3": 1.0}, digits.source)
    renamed = replace(digits.source.info, class_names=tuple("abcdefghij"))
    source = replace(digits.source, info=renamed)
    assert class_weights({"b": 2.0}, source) == pytest.approx([1, 2] + [1] * 8)


def test_every_output_gets_labels_and_weights(two_headed, digits):
    config = TrainConfig(class_weights={"3": 5.0})
    batches = training_targets(digits.train_epochs(0), config, digits.source)
    _, labels, weights = one(with_targets(two_headed, batches))
    assert set(labels) == set(weights) == {MAIN, "aux1"}
    assert np.array_equal(weights["aux1"], np.where(labels["aux1"] == 3, 5, 1))
