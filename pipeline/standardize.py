"""From cached values to what a network takes: one function for training, evaluation and serving."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from pipeline import preprocess
from pipeline.augment_config import AugmentConfig

EPSILON = 1e-6  # ImageDataGenerator's: a constant feature stays finite
MOST_WHITENED = 3072  # values of an example: 32x32x3, 38 MB in each signature of the exported model


@dataclass(frozen=True)
class Preparation:
    """Scaling, then standardisation, in the order of `ImageDataGenerator.standardize`.

    Statistics are float32 and None where the job asks for none of them.
    """

    shape: tuple[int, ...]  # of one example: (H, W, C) or (D,)
    scaling: preprocess.Scaling
    resize: preprocess.Resize
    config: AugmentConfig
    mean: np.ndarray | None = None  # [C] or [D]
    deviation: np.ndarray | None = None  # [C] or [D]
    whitening: np.ndarray | None = None  # [V, V], V values of an example

    def decode(self, encoded: tf.Tensor, image_size: tuple[int, int] | None = None) -> tf.Tensor:
        """Decode one image file to uint8 [H, W, C], in another size if one is given."""
        height, width, channels = self.shape
        return preprocess.decode(encoded, image_size or (height, width), channels, self.resize)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Prepare a batch: images 0..255 [N, H, W, C] or vectors [N, D], to float32."""
        values = self._samplewise(self.scaled(inputs))
        if self.mean is not None:
            values -= self.mean
        if self.deviation is not None:
            values /= self.deviation + EPSILON
        if self.whitening is not None:
            flat = tf.reshape(values, [-1, self.whitening.shape[0]]) @ self.whitening
            values = tf.reshape(flat, [-1, *self.shape])
        return values

    def scaled(self, inputs: tf.Tensor) -> tf.Tensor:
        """Scale only, which is what the statistics are taken of."""
        if self.config.rescale is not None:
            return tf.cast(inputs, tf.float32) * self.config.rescale
        if len(self.shape) == 1:
            return tf.cast(inputs, tf.float32)
        return preprocess.scale(inputs, self.scaling)

    def _samplewise(self, values: tf.Tensor) -> tf.Tensor:
        axes = tuple(range(1, len(self.shape) + 1))
        deviates = self.config.samplewise_std_normalization
        if self.config.samplewise_center or deviates:
            values -= tf.reduce_mean(values, axes, keepdims=True)
        if deviates:
            values /= tf.math.reduce_std(values, axes, keepdims=True) + EPSILON
        return values


def fit(preparation: Preparation, batches: Iterable[tf.Tensor]) -> Preparation:
    """Take the statistics that the job asks for over the training examples.

    `batches` of cached values is iterated up to twice; equal batches give equal statistics, bit for
    bit. Raises ValueError when whitening asks for too large a matrix.
    """
    config = preparation.config
    deviates = config.featurewise_std_normalization and not config.zca_whitening
    if not (config.featurewise_center or deviates or config.zca_whitening):
        return preparation
    _check_whitening(preparation)
    moments = _moments(preparation, batches)
    fitted = replace(preparation, mean=moments[0], deviation=moments[1] if deviates else None)
    if not config.zca_whitening:
        return fitted
    return replace(fitted, whitening=_whitening(fitted, batches))


def _check_whitening(preparation: Preparation) -> None:
    values = int(np.prod(preparation.shape))
    if preparation.config.zca_whitening and values > MOST_WHITENED:
        raise ValueError(
            f"data.augment.zca_whitening: an example of shape {preparation.shape} has {values} "
            f"values, and the matrix their square; at most {MOST_WHITENED} values are allowed. "
            "Make data.image_size smaller or use featurewise_std_normalization"
        )


def _moments(
    preparation: Preparation, batches: Iterable[tf.Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Give mean and deviation of each channel (feature), summed in float64 in the given order."""
    count, total, squares = 0, np.zeros(preparation.shape[-1]), np.zeros(preparation.shape[-1])
    for batch in batches:
        rows = preparation.scaled(batch).numpy().reshape(-1, preparation.shape[-1]).astype(float)
        count += len(rows)
        total += rows.sum(axis=0)
        squares += np.square(rows).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _whitening(preparation: Preparation, batches: Iterable[tf.Tensor]) -> np.ndarray:
    """Give ImageDataGenerator's ZCA matrix, from the eigenvectors of the examples' products.

    Directions that n examples cannot span have no singular value in the decomposition of all of
    them, and are left out here too.
    """
    size = int(np.prod(preparation.shape))
    count, products = 0, np.zeros((size, size))
    for batch in batches:
        rows = preparation.scaled(batch).numpy().astype(float) - preparation.mean
        flat = rows.reshape(len(rows), size)
        count += len(flat)
        products += flat.T @ flat
    eigenvalues, vectors = np.linalg.eigh(products)
    kept = slice(max(0, size - count), None)  # eigh sorts them upwards
    singular = np.sqrt(np.maximum(eigenvalues[kept], 0.0))
    scales = np.sqrt(count) / (singular + preparation.config.zca_epsilon)
    basis = vectors[:, kept]
    return ((basis * scales) @ basis.T).astype(np.float32)
