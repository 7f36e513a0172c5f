"""A sweep of the learning rate: its steps, its end and what it suggests."""

import keras
import numpy as np
import pytest

from trainer import figures, network
from trainer.config import ModelConfig, TrainConfig
from trainer.rate_sweep import LOWEST, RateSweep, sweep

PLAIN = ModelConfig(name="mlp")
QUICK = ModelConfig(
    name="lenet5", options={"activation": "relu", "batch_norm": True, "classifier": [16]}
)


def swept(losses) -> RateSweep:
    """Give a sweep from 1e-6 to 10 whose loss is a function of the rate's logarithm."""
    exponents = np.linspace(-6, 1, 176)
    return RateSweep(tuple(10**exponents), tuple(losses(exponents)))


def falling_at(middle: float):
    return swept(lambda x: 2.3 - 2 / (1 + np.exp(-4 * (x - middle))) + 5 * np.maximum(x, 0))


@pytest.mark.parametrize("middle", [-4.0, -2.5, -1.0])
def test_the_suggestion_lies_where_the_loss_falls_fastest(middle):
    suggestion = falling_at(middle).suggestion
    assert suggestion
    assert np.log10(suggestion) == pytest.approx(middle, abs=0.3)


def test_noise_of_batches_moves_the_suggestion_little():
    noise = np.random.default_rng(0).normal(0, 0.05, 176)
    found = swept(lambda x: 2.3 - 2 / (1 + np.exp(-4 * (x + 2))) + noise)
    assert found.suggestion
    assert np.log10(found.suggestion) == pytest.approx(-2, abs=0.6)


def test_a_fall_between_the_first_two_batches_is_chance():
    found = swept(lambda x: 2.3 - 2 / (1 + np.exp(-4 * (x + 2))) + (x == x[0]))
    assert found.suggestion
    assert np.log10(found.suggestion) == pytest.approx(-2, abs=0.3)


def test_a_loss_that_never_falls_suggests_nothing():
    assert swept(lambda x: 2.3 + np.maximum(x, 0)).suggestion is None
    assert RateSweep((1e-7,), (2.3,)).suggestion is None


def test_a_sweep_of_real_training_ends_when_the_loss_is_beyond_hope(digits):
    keras.utils.set_random_seed(0)
    model = network.build(QUICK, digits.info)
    config = TrainConfig(batch_size=100, label_smoothing=0.1)
    found = sweep(model, digits, config)
    assert found.rates[0] == pytest.approx(LOWEST)
    assert np.allclose(np.diff(np.log(found.rates)), np.log(1e8) / 199)
    assert 100 < len(found.rates) < 200
    assert found.losses[0] == pytest.approx(np.log(10), abs=0.6)
    assert found.suggestion
    assert 1e-4 < found.suggestion < 1
    png = figures.png(figures.sweep_curve(found))
    assert png.startswith(b"\x89PNG")


def test_every_step_is_taken_at_its_rate(iris):
    """With plain SGD a weight moves by the rate times its gradient: the loss shows none before."""
    keras.utils.set_random_seed(0)
    model = network.build(PLAIN, iris.info)
    before = [weight.numpy() for weight in model.trainable_weights]
    sweep(model, iris, TrainConfig(batch_size=9, optimizer="adam"), steps=2)
    moved = [
        np.abs(weight.numpy() - old).max()
        for weight, old in zip(model.trainable_weights, before, strict=True)
    ]
    assert max(moved) == pytest.approx(10.0, rel=0.5)  # the second step, at the highest rate
