"""TensorFlow Serving's PredictionLog: TFRecords of requests, with what was answered."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2


def records(path: Path, compression: str = "") -> Iterator[Any]:
    """Every PredictionLog of a TFRecord file, which may be compressed by "GZIP".

    Raises tf.errors.DataLossError where the file is cut off or damaged, DecodeError where a record
    is none.
    """
    for record in tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator():
        yield prediction_log_pb2.PredictionLog.FromString(record)
