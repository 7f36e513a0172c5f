"""Digits, small enough to train on in a test."""

import keras
import pytest

from pipeline import DataConfig, load
from pipeline.dataset import Splits
from trainer.objective import MAIN


@pytest.fixture(scope="session")
def digits(data_dir) -> Splits:
    """8x8 digits in batches of 100."""
    config = DataConfig(source="digits", data_dir=str(data_dir), channels=1, image_size=(16, 16))
    return load(config, batch_size=100)


@pytest.fixture(scope="session")
def iris(data_dir) -> Splits:
    """Flowers in batches of 9: 12 steps in an epoch, and 2 in a validation, as `digits` has."""
    config = DataConfig(source="iris", data_dir=str(data_dir), validation_fraction=0.075)
    return load(config, batch_size=9)


@pytest.fixture
def two_headed() -> keras.Model:
    """A network with an auxiliary classifier."""
    image = keras.Input((16, 16, 1))
    x = keras.layers.Flatten()(image)
    heads = {n: keras.layers.Dense(10, "softmax", name=n)(x) for n in (MAIN, "aux1")}
    return keras.Model(image, heads)
