"""Names of ImageNet's 1,000 classes, for models that answer with their numbers."""

from dataclasses import replace

import numpy as np
from keras.applications import imagenet_utils

from serving.predictions import Prediction

NUM_CLASSES = 1000


def name_classes(predictions: list[Prediction]) -> list[Prediction]:
    """Put names in the place of class numbers; Keras fetches the list of names once and keeps it.

    Raises ValueError when the labels are no ImageNet class numbers, or the list cannot be had.
    """
    for prediction in predictions:
        if prediction.label != str(prediction.class_id) or prediction.class_id >= NUM_CLASSES:
            raise ValueError(
                f"--imagenet names the classes of an unmodified application; version "
                f"{prediction.version} answers {prediction.label!r}, no ImageNet class number"
            )
    return [_name(prediction) for prediction in predictions]


def _name(prediction: Prediction) -> Prediction:
    scores = np.zeros((1, NUM_CLASSES))
    ids = [score.class_id for score in prediction.top]
    scores[0, ids] = np.arange(len(ids), 0, -1)  # only the order counts
    try:
        [decoded] = imagenet_utils.decode_predictions(scores, top=len(ids))
    except Exception as problem:  # Keras raises a bare Exception when a fetch fails
        raise ValueError(f"cannot have ImageNet's class names: {problem}") from None
    named = zip(prediction.top, decoded, strict=True)
    top = tuple(replace(score, label=name) for score, (_, name, _) in named)
    return replace(prediction, label=top[0].label, top=top)
