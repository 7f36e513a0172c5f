from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.dropout import Dropout

RATES = [0.001, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.995]


def layer(rate: float, seed: int = 1, dtype: str = "float32") -> Dropout:
    return Dropout(rate, seed=seed, dtype=dtype)


def dropped(rate: float, dtype: str = "float32", shape: tuple[int, ...] = (500, 40, 50)):
    return layer(rate, dtype=dtype)(tf.ones(shape), training=True).numpy() == 0


@pytest.mark.parametrize(
    ("rate", "dtype"),
    [
        *product(RATES, ["float32", "bfloat16", "float16"]),
        (0.999, "float32"),  # beyond 255/256 Keras' own draws stand in, which are exact here only
    ],
)
def test_the_share_of_dropped_values_is_the_rate(rate, dtype):
    """To five standard deviations of a million independent draws; Keras' bfloat16 misses it."""
    share = dropped(rate, dtype).mean()
    assert share == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / 1e6))


def test_values_are_dropped_independently():
    """Neither an example nor a unit, nor neighbours of either, go together."""
    lost = dropped(0.1, shape=(1000, 1000))
    for counts in (lost.sum(0), lost.sum(1)):
        assert counts.std() == pytest.approx(np.sqrt(1000 * 0.1 * 0.9), rel=0.15)
    for pairs in (lost[1:] & lost[:-1], lost[:, 1:] & lost[:, :-1]):
        assert pairs.mean() == pytest.approx(0.01, abs=5e-4)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_what_is_kept_is_scaled_up(rate):
    values = np.random.default_rng(0).normal(size=(64, 100)).astype("float32")
    kept = layer(rate)(values, training=True).numpy()
    assert kept[kept != 0] == pytest.approx(values[kept != 0] / (1 - rate), rel=1e-6)


def test_gradients_pass_where_values_do():
    inputs = tf.ones((8, 50))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(0.4)(inputs, training=True)
    assert np.array_equal(tape.gradient(outputs, inputs), outputs)


def test_a_seed_tells_the_whole_sequence_of_draws():
    first, again, other = layer(0.5), layer(0.5), layer(0.5, seed=2)
    inputs = tf.ones((4, 100))
    drawn = [first(inputs, training=True).numpy() for _ in range(3)]
    for mask in drawn:
        assert np.array_equal(mask, again(inputs, training=True))
        assert not np.array_equal(mask, other(inputs, training=True))
    assert not np.array_equal(drawn[0], drawn[1])


def test_inference_and_rate_zero_change_nothing():
    inputs = tf.random.normal((3, 7))
    assert np.array_equal(layer(0.5)(inputs), inputs)
    assert np.array_equal(layer(0.0)(inputs, training=True), inputs)


def test_nothing_is_left_at_rate_one():
    assert not layer(1.0)(tf.ones((4, 9)), training=True).numpy().any()


def test_a_noise_shape_drops_whole_rows():
    spatial = Dropout(0.5, noise_shape=(None, 1, 8), seed=1)
    lost = spatial(tf.ones((50, 6, 8)), training=True).numpy() == 0
    assert lost.any()
    assert (lost == lost[:, :1]).all()


def test_a_batch_of_any_size_is_drawn_for():
    layer_of_any = layer(0.5)
    compiled = tf.function(
        lambda x: layer_of_any(x, training=True),
        input_signature=[tf.TensorSpec([None, 5], tf.float32)],
        autograph=False,
    )
    assert [compiled(tf.ones((n, 5))).shape for n in (0, 1, 9)] == [(0, 5), (1, 5), (9, 5)]


def test_xla_draws_the_same():
    inputs = tf.ones((6, 40))
    plain, compiled = layer(0.3), layer(0.3)
    by_xla = tf.function(lambda: compiled(inputs, training=True), jit_compile=True)()
    assert np.array_equal(by_xla, plain(inputs, training=True))


def test_it_is_saved_and_loaded(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Dropout(0.25, name="drop")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer("drop")
    assert (type(loaded), loaded.rate) == (Dropout, 0.25)
