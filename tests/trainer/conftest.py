"""Digits, small enough to train on in a test."""

import pytest

from pipeline import DataConfig, load
from pipeline.dataset import Splits


@pytest.fixture(scope="session")
def digits(data_dir) -> Splits:
    """8x8 digits in batches of 100."""
    config = DataConfig(source="digits", data_dir=str(data_dir), channels=1, image_size=(16, 16))
    return load(config, batch_size=100)


@pytest.fixture(scope="session")
def iris(data_dir) -> Splits:
    """Flowers in batches of 16."""
    return load(DataConfig(source="iris", data_dir=str(data_dir)), batch_size=16)
