import numpy as np
import tensorflow as tf

from trainer.splitmix import state_of, words_after

AFTER_1234567 = [  # of the generator's reference implementation in C
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def test_words_are_those_of_the_reference_implementation():
    words = words_after(tf.constant(1234567, tf.uint64), 5)
    assert words.numpy().tolist() == AFTER_1234567


def test_states_are_far_apart_and_have_evenly_spread_bits():
    """Of neighbouring seeds and draws; twice as many states as a run of a million steps draws."""
    numbers = tf.range(1_000_000, dtype=tf.int64)
    states = np.concatenate([state_of(tf.constant(seed, tf.int64), numbers) for seed in (0, 1)])
    ordered = np.sort(states)
    assert (np.diff(ordered) > 0).all()
    for bit in range(64):
        share = ((states >> np.uint64(bit)) & np.uint64(1)).mean()
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(len(states))


def test_seed_and_number_have_different_parts():
    one, other = (
        state_of(tf.constant(seed, tf.int64), tf.constant(number, tf.int64))
        for seed, number in ((3, 4), (4, 3))
    )
    assert int(one) != int(other)
