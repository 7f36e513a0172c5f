import keras
import numpy as np
import pytest

from trainer import network
from trainer.averaging import averaged_weights
from trainer.config import ModelConfig, TrainConfig
from trainer.objective import compile_model

MLP = ModelConfig(name="mlp", options={"batch_norm": True})


def started(iris, **settings) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = network.build(MLP, iris.info)
    config = TrainConfig.model_validate({"optimizer": "sgd", "learning_rate": 0.05} | settings)
    compile_model(model, config, steps_per_epoch=iris.steps_per_epoch)
    return model


def trainable(model: keras.Model) -> np.ndarray:
    return np.concatenate([w.numpy().ravel() for w in model.trainable_variables])


def test_the_average_is_that_of_the_weights_after_every_step(iris):
    model = started(iris, ema_momentum=0.8)
    expected = None
    for _ in range(4):
        model.train_on_batch(*next(iter(iris.train_epochs(0))))
        now = trainable(model)
        expected = now if expected is None else 0.8 * expected + 0.2 * now
    with averaged_weights(model):
        assert trainable(model) == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(trainable(model), now)


def test_the_average_moves_when_the_weights_do(iris):
    """Not in each of the batches whose gradients are accumulated."""
    model = started(iris, ema_momentum=0.8, accumulation_steps=2)
    expected = None
    for step in range(1, 7):
        model.train_on_batch(*next(iter(iris.train_epochs(step))))
        if step % 2 == 0:
            now = trainable(model)
            expected = now if expected is None else 0.8 * expected + 0.2 * now
    with averaged_weights(model):
        assert trainable(model) == pytest.approx(expected, abs=1e-6)


def test_schedule_free_training_is_validated_at_the_average_of_its_fast_weights(iris):
    """Defazio et al. 2024, equation 4: x is the mean of z, and y lies between the two."""
    model = started(iris, optimizer="schedule_free_adamw")
    fast = []
    for step in range(5):
        model.train_on_batch(*next(iter(iris.train_epochs(step))))
        fast.append(np.concatenate([z.numpy().ravel() for z in model.optimizer._momentums]))
    trained = trainable(model)
    with averaged_weights(model):
        average = trainable(model)
    assert average == pytest.approx(np.mean(fast, axis=0), abs=1e-5)
    assert trained == pytest.approx(0.1 * fast[-1] + 0.9 * average, abs=1e-6)
    assert np.array_equal(trainable(model), trained)


def test_weights_and_averages_come_back_bit_for_bit(iris):
    model = started(iris, ema_momentum=0.9)
    model.fit(iris.train_epochs(0), steps_per_epoch=3, verbose=0, shuffle=False)
    before = [v.numpy() for v in model.optimizer.variables]
    for _ in range(3):
        with averaged_weights(model):
            pass
    after = [v.numpy() for v in model.optimizer.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_job_that_does_not_average_keeps_its_weights(iris):
    model = started(iris)
    before = trainable(model)
    with averaged_weights(model):
        assert np.array_equal(trainable(model), before)
