"""Dropout that draws eight random bits for a value, at exactly the rate asked for.

Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from trainer.splitmix import state_of, words_after

LEVELS = 256  # that a byte tells apart


@keras.saving.register_keras_serializable(package="convoy")
class Dropout(layers.Dropout):
    """Keras' layer, for a quarter of its time on a CPU: most of that goes into random bits.

    Keras draws 32 for a value; under bfloat16 it keeps 7 of them, so that a rate of 0.1 becomes
    13/128. Here a value is dropped when its byte lies below a threshold. Rates between two
    thresholds draw, for each unit of a batch's examples, the upper or the lower one.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Drop values of [N, ...] while training, and scale up those that are kept."""
        unusual = self.noise_shape is not None or self.rate * LEVELS > LEVELS - 1
        if not training or self.rate == 0 or unusual:
            return super().call(inputs, training=training)
        seed, kind = self.seed_generator.next(), inputs.dtype
        return inputs * _factors(tf.shape(inputs), self.rate, seed, kind)


@tf.function(jit_compile=True, autograph=False)
def _factors(shape: tf.Tensor, rate: float, seed: tf.Tensor, kind: tf.DType) -> tf.Tensor:
    """Draw what values of [N, ...] are multiplied by: 0 with a probability of `rate`.

    `seed` is an integer and the number of the draw. Compiled, all is one pass over memory.
    """
    values, units = tf.reduce_prod(shape), tf.reduce_prod(shape[1:])
    drawn = _random_bytes(values + 2 * units, seed)
    lower = int(rate * LEVELS)
    raise_at = round((rate * LEVELS - lower) * 2**16)
    raised = tf.cast(_pairs(drawn[values:]), tf.int32) < raise_at
    threshold = tf.cast(lower, tf.uint8) + tf.cast(raised, tf.uint8)
    per_unit = tf.concat([[1], shape[1:]], 0)
    kept = tf.reshape(drawn[:values], shape) >= tf.reshape(threshold, per_unit)
    return tf.where(kept, tf.cast(1 / (1 - rate), kind), tf.cast(0, kind))


def _random_bytes(count: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draw uint8 [count]; as whole words, of which no bit is thrown away."""
    words = words_after(state_of(seed[0], seed[1]), (count + 7) // 8)
    return tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count]


def _pairs(drawn: tf.Tensor) -> tf.Tensor:
    """Read bytes [2 * n] as uint16 [n]."""
    return tf.bitcast(tf.reshape(drawn, [-1, 2]), tf.uint16)
