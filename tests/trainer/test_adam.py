"""Our Adam against Keras' own, step by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import adam


def moved(optimizer: keras.optimizers.Optimizer, steps: int = 6) -> list[np.ndarray]:
    """Give two weights after a few steps of gradients that change size and sign."""
    random = np.random.default_rng(0)
    weights = [
        keras.Variable(random.normal(size=shape), dtype="float32") for shape in ((5, 3), (3,))
    ]
    for _ in range(steps):
        gradients = [tf.constant(random.normal(size=w.shape) * 10, tf.float32) for w in weights]
        optimizer.apply(gradients, weights)
    return [w.numpy() for w in weights]


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
        {"amsgrad": True},
        {"weight_decay": 0.1},
        {"use_ema": True, "ema_overwrite_frequency": 2},
        {"gradient_accumulation_steps": 2},
        {"global_clipnorm": 1.0},
    ],
    ids=str,
)
def test_weights_go_where_those_of_keras_go(name, options):
    """To a ten-thousandth of a step: TensorFlow rounds 1 - beta to float32, Keras takes 0.001."""
    theirs = moved(getattr(keras.optimizers, name)(learning_rate=0.1, **options))
    ours = moved(getattr(adam, name)(learning_rate=0.1, **options))
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=0, abs=1e-5)


def test_its_state_fits_that_of_keras():
    """A checkpoint that Keras' Adam wrote goes on with ours."""
    weight = [keras.Variable(np.ones(4, "float32"))]
    ours, theirs = adam.Adam(), keras.optimizers.Adam()
    for optimizer in (ours, theirs):
        optimizer.build(weight)
    kept = [
        [(v.path.partition("/")[2], v.shape, v.dtype) for v in optimizer.variables]
        for optimizer in (ours, theirs)
    ]
    assert kept[0] == kept[1]


def test_a_compiled_step_updates_in_one_operation():
    weight = keras.Variable(np.ones(4, "float32"))
    optimizer = adam.Adam()
    optimizer.build([weight])
    step = tf.function(lambda: optimizer.apply([tf.ones(4)], [weight]), autograph=False)
    kinds = [operation.type for operation in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 1
