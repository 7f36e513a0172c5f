"""SplitMix64, a generator whose every word follows from a state and the word's own number.

Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators". Compiled by XLA for a
CPU, it draws a word in a third of the time of TensorFlow's Philox.
"""

import numpy as np
import tensorflow as tf

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio: what the state grows by
MULTIPLIERS = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
SHIFTS = 30, 27, 31


def state_of(seed: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Give the state, uint64 [], for a seed's draw of this number; both are below 2**32.

    Different pairs have different states, which are as if drawn at random.
    """
    pair = tf.bitwise.left_shift(_word(seed), _word(32)) + _word(number)
    return _mix(pair + _word(GOLDEN))


def words_after(state: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Give the `count` words that follow a state, uint64 [count]."""
    return _mix(state + _word(tf.range(1, count + 1)) * _word(GOLDEN))


def _mix(z: tf.Tensor) -> tf.Tensor:
    for shift, multiplier in zip(SHIFTS, MULTIPLIERS, strict=False):
        z = _fold(z, shift) * _word(multiplier)
    return _fold(z, SHIFTS[-1])


def _fold(z: tf.Tensor, shift: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _word(shift)))


def _word(number: int | tf.Tensor) -> tf.Tensor:
    return tf.cast(np.uint64(number) if isinstance(number, int) else number, tf.uint64)
