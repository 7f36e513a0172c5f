import inspect
from typing import Any, get_args

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.accumulation import check_accumulation, finish_epoch
from trainer.config import OptimizerName, TrainConfig
from trainer.objective import compile_model, cross_entropy
from trainer.optimizers import (
    OPTIMIZERS,
    check_options,
    current_rate,
    last_rate,
    make_optimizer,
    multiply_rate,
    rate_scale,
    updates,
)
from trainer.schedule_config import ScheduleConfig

WRAPPERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}  # they change no weight themselves


def tiny() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(2, "softmax", name="probabilities")(inputs))


def batches(count: int = 8) -> tf.data.Dataset:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(count, 4, 4)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((inputs, (inputs[..., 0] > 0).astype("int64")))


def trained(config: TrainConfig, steps: int = 4) -> keras.Model:
    model = tiny()
    compile_model(model, config, steps_per_epoch=steps)
    train(model, batches().take(steps))
    return model


def train(model: keras.Model, data: tf.data.Dataset) -> None:
    """Take a compiled step for each batch, without what else Keras' `fit` compiles."""
    variables = model.trainable_variables

    @tf.function(autograph=False)
    def step(inputs: tf.Tensor, labels: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cross_entropy(labels, model(inputs, training=True)))
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        model.optimizer.apply(gradients, variables)

    for inputs, labels in data:
        step(inputs, labels)


def weights(model: keras.Model) -> np.ndarray:
    return np.concatenate([w.ravel() for w in model.get_weights()])


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_every_optimizer_moves_every_weight(name):
    before = weights(tiny())
    after = weights(trained(TrainConfig(optimizer=name, learning_rate=0.01), steps=3))
    assert np.isfinite(after).all()
    assert (before != after).all()


def test_every_optimizer_of_keras_has_a_name():
    ours: set[Any] = {getattr(make, "func", make) for make in OPTIMIZERS.values()}
    ours |= {kind for made in ours for kind in made.__mro__ if kind.__name__ == made.__name__}
    classes = dict(inspect.getmembers(keras.optimizers, inspect.isclass))
    theirs = {
        made
        for name, made in classes.items()
        if issubclass(made, keras.optimizers.Optimizer) and name not in WRAPPERS
    }
    assert theirs <= ours


def test_the_rate_follows_the_schedule_and_the_scale():
    schedule = ScheduleConfig(name="step", factor=0.5, every_epochs=1)
    config = TrainConfig(optimizer="sgd", learning_rate=0.4, schedule=schedule, epochs=3)
    model = tiny()
    compile_model(model, config, steps_per_epoch=4)
    assert current_rate(model.optimizer) == pytest.approx(0.4)
    model.fit(batches(), steps_per_epoch=4, verbose=0, shuffle=False)
    assert current_rate(model.optimizer) == pytest.approx(0.2)
    assert multiply_rate(model.optimizer, 0.1) == pytest.approx(0.1)
    assert current_rate(model.optimizer) == pytest.approx(0.02)
    before = weights(model)
    multiply_rate(model.optimizer, 0.0)
    model.fit(batches(), steps_per_epoch=1, verbose=0, shuffle=False)
    assert np.array_equal(before, weights(model))  # the step compiled before heeds the new scale


def test_the_scale_is_part_of_what_checkpoints_keep():
    for config in (TrainConfig(), TrainConfig(precision="mixed_float16")):
        optimizer = make_optimizer(config, 10)
        wrapped = keras.optimizers.LossScaleOptimizer(optimizer)
        wrapped.build([keras.Variable(np.zeros(3, "float32"))])
        assert any(v is rate_scale(wrapped) for v in wrapped.variables)


def test_accumulating_two_batches_equals_one_batch_of_both():
    both = batches().unbatch().batch(8)
    whole = tiny()
    compile_model(whole, TrainConfig(optimizer="sgd", learning_rate=0.1))
    train(whole, both.take(2))
    config = TrainConfig(optimizer="sgd", learning_rate=0.1, accumulation_steps=2)
    assert weights(trained(config)) == pytest.approx(weights(whole), abs=1e-6)


def test_the_last_batches_of_an_epoch_are_applied_though_they_are_fewer():
    """Three of four batches, then the one that is left: as one batch of 12, then one of 4."""
    model = trained(TrainConfig(optimizer="sgd", learning_rate=0.1, accumulation_steps=3))
    finish_epoch(model)
    finish_epoch(model)  # nothing is left
    expected = tiny()
    compile_model(expected, TrainConfig(optimizer="sgd", learning_rate=0.1))
    examples = batches().unbatch()
    train(expected, examples.take(12).batch(12))
    train(expected, examples.skip(12).take(4).batch(4))
    assert weights(model) == pytest.approx(weights(expected), abs=1e-6)
    assert updates(model.optimizer) == 2


def test_the_rate_of_accumulated_batches_is_that_of_updates():
    schedule = ScheduleConfig(name="step", factor=0.5, every_epochs=1)
    config = TrainConfig(
        optimizer="sgd", learning_rate=0.4, schedule=schedule, accumulation_steps=3
    )
    model = tiny()
    compile_model(model, config, steps_per_epoch=4)  # two updates
    train(model, batches().take(4))
    finish_epoch(model)
    assert last_rate(model.optimizer) == pytest.approx(0.4)
    assert current_rate(model.optimizer) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("settings", "steps", "allowed"),
    [
        ({"epochs": 2, "accumulation_steps": 12}, 6, True),
        ({"epochs": 2, "accumulation_steps": 13}, 6, False),
        ({"epochs": 9, "accumulation_steps": 7, "frozen": True, "fine_tune": {"epochs": 1}}, 6,
         False),
    ],
)  # fmt: skip
def test_more_batches_than_a_training_has_cannot_be_accumulated(settings, steps, allowed):
    config = TrainConfig.model_validate(settings)
    if allowed:
        check_accumulation(config, steps)
        return
    with pytest.raises(ValueError, match="no weight would change before its end. Set it to at "):
        check_accumulation(config, steps)


@pytest.mark.parametrize(
    ("name", "rate"), [("adam", 1e-3), ("sgd", 1e-2), ("nesterov", 1e-2), ("adafactor", 1e-3)]
)
def test_a_rate_that_is_not_set_is_the_optimizers_own(name, rate):
    assert current_rate(make_optimizer(TrainConfig(optimizer=name), 1)) == pytest.approx(rate)


@pytest.mark.parametrize("way", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_clipping_bounds_a_step(way):
    config = TrainConfig(optimizer="sgd", learning_rate=1.0, **{way: 1e-4})
    moved = weights(trained(config, steps=1)) - weights(tiny())
    assert 0 < np.abs(moved).max() <= 1.01e-4
    if way == "global_clipnorm":
        assert np.linalg.norm(moved) == pytest.approx(1e-4, rel=1e-3)


def test_weight_decay_shrinks_kernels_and_spares_biases():
    model = tiny()
    compile_model(model, TrainConfig(optimizer="sgd", learning_rate=0.5, weight_decay=0.1))
    for layer in model.layers[1:]:
        layer.bias.assign(np.ones(layer.bias.shape))
    kernels = [layer.kernel.numpy() for layer in model.layers[1:]]
    silent = [tf.zeros(v.shape) for v in model.trainable_variables]
    model.optimizer.apply(silent, model.trainable_variables)
    for layer, kernel in zip(model.layers[1:], kernels, strict=True):
        assert layer.kernel.numpy() == pytest.approx(kernel * 0.95, rel=1e-5)
        assert np.array_equal(layer.bias.numpy(), np.ones(layer.bias.shape))


def test_weight_decay_spares_every_vector_whatever_its_name():
    """ConvNeXt's layer scale begins at 1e-6, and means something there."""
    kernel, scale = keras.Variable(np.ones((2, 2)), name="kernel"), keras.Variable([1e-6, 1e-6])
    optimizer = make_optimizer(TrainConfig(optimizer="adamw", weight_decay=0.5), 1)
    optimizer.build([kernel, scale])
    optimizer.apply([tf.zeros((2, 2)), tf.zeros((2,))], [kernel, scale])
    assert (kernel.numpy() < 1).all()
    assert scale.numpy() == pytest.approx([1e-6, 1e-6])


def test_options_reach_the_optimizer():
    config = TrainConfig(optimizer="adam", optimizer_options={"beta_2": 0.5, "amsgrad": True})
    optimizer = make_optimizer(config, 1)
    assert (optimizer.beta_2, optimizer.amsgrad) == (0.5, True)
    nesterov = TrainConfig(optimizer="nesterov", optimizer_options={"momentum": 0.8})
    assert make_optimizer(nesterov, 1).momentum == 0.8


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adam", {"beta_3": 1}, r"beta_3: adam has no such argument\. Allowed: beta_1, beta_2"),
        ("adam", {"beta_1": 1.0}, "beta_1: expected at least 0 and below 1, received 1.0"),
        ("adam", {"epsilon": "small"}, "epsilon: expected a finite number, received 'small'"),
        ("adam", {"amsgrad": 1}, "amsgrad: expected true or false, received 1"),
        ("adam", {"clipnorm": 1.0}, r"clipnorm: set train\.clipnorm instead"),
        ("sgd", {"learning_rate": 1.0}, r"learning_rate: set train\.learning_rate instead"),
        ("sgd", {"nesterov": True}, "nesterov does nothing without momentum"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(name, options, message):
    with pytest.raises(ValueError, match=message):
        check_options(TrainConfig(optimizer=name, optimizer_options=options))


def test_two_ways_of_clipping_exclude_each_other():
    with pytest.raises(ValueError, match="clipnorm and clipvalue exclude each other"):
        TrainConfig(clipnorm=1.0, clipvalue=1.0)
