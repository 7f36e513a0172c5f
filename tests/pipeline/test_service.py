"""Training batches prepared by the workers of a tf.data service."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipeline import DataConfig, load
from pipeline.augment_config import AugmentConfig
from pipeline.dataset import Splits

service = tf.data.experimental.service


@pytest.fixture(scope="module")
def dispatcher() -> Iterator[Any]:
    """A dispatcher and two workers, on free ports."""
    server = service.DispatchServer(service.DispatcherConfig(port=0))
    address = server.target.partition("://")[2]
    workers = [service.WorkerServer(service.WorkerConfig(address)) for _ in range(2)]
    yield server
    for worker in workers:
        worker._stop()
    server._stop()


@pytest.fixture(scope="module")
def plain(data_dir) -> Splits:
    """Digits prepared without the service, all of them in one batch."""
    return load(digits(data_dir), 1296)


def digits(data_dir, **settings) -> DataConfig:
    return DataConfig(source="digits", data_dir=str(data_dir), channels=1, **settings)


def test_two_workers_prepare_the_training_batches(dispatcher, data_dir, plain):
    data = load(digits(data_dir, service=dispatcher.target), 100)
    known = Counter(image.tobytes() for image in next(iter(plain.train_epochs(0)))[0].numpy())
    seen: Counter[bytes] = Counter()
    for images, labels in data.train_epochs(0).take(2 * data.steps_per_epoch):
        assert images.shape == (100, 8, 8, 1)
        assert labels.dtype == tf.int64
        seen.update(image.tobytes() for image in images.numpy())
    assert set(seen) <= set(known)
    assert dispatcher._num_workers() == 2
    # each worker gives whole epochs of its own: one gave at least 12 of these 24 batches, an epoch
    # but for its remainder, and no more than four were begun
    assert len(seen) > 0.85 * len(known)
    assert max(count / known[image] for image, count in seen.items()) <= 4


def test_augmentation_runs_on_the_workers(dispatcher, data_dir):
    augment = AugmentConfig(rotation_range=30, horizontal_flip=True, mixup=0.2)
    data = load(digits(data_dir, service=dispatcher.target, augment=augment), 100)
    images, labels = next(iter(data.train_epochs(0)))
    assert images.dtype == tf.float32
    assert np.allclose(labels.numpy().sum(axis=1), 1, atol=1e-6)


def test_evaluation_does_not_depend_on_the_service(data_dir, plain):
    """No dispatcher listens here: evaluation sees every example once all the same."""
    data = load(digits(data_dir, service="grpc://localhost:1"), 100)
    seen = [image.tobytes() for images, _ in data.test for image in images.numpy()]
    assert seen == [image.tobytes() for images, _ in plain.test for image in images.numpy()]
