"""TensorFlow Datasets' own builders, and data sets prepared with them."""

from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds


def tfds_builder(name: str, data_dir: Path) -> Any:
    """Give the TFDS builder of that name, not prepared yet.

    Raises ValueError when TFDS knows no such data set, or it has no image (or features) and label.
    """
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError) as problem:
        reason = str(problem).strip().splitlines()[0]
        raise ValueError(f"source tfds: {reason}") from None
    features = set(builder.info.features or {})
    if "label" not in features or not features & {"image", "features"}:
        raise ValueError(
            f"source tfds: {name} has the features {', '.join(sorted(features))}; "
            "a classifier needs image (or features) and label"
        )
    return builder
