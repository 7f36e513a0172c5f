"""What a model was asked and how it answered, read from the servers' request logs.

Both kinds are understood: our own JSON lines (serving.request_log), also where a logger has put
its own words before each, and TensorFlow Serving's TFRecords of PredictionLog.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np

from serving.errors import ServingError
from serving.tensors import Array, to_array

GZIP = b"\x1f\x8b"
FOREIGN = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x1f\x9d": "compress",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
}
TEXT_PROBE = 4096  # bytes: a TFRecord has zeros among its first, a line of JSON has none at all


class TrafficError(ServingError):
    """There is no log to read, or what lies there is none."""


@dataclass(frozen=True)
class Answers:
    """What one request was answered. `moment`: UTC, where the log says it."""

    model: str
    version: int
    class_ids: Array  # int64 [N]
    confidences: Array  # float64 [N], probability of the class
    moment: datetime | None


def read(directory: Path) -> Iterator[Answers]:
    """Classifications in every file of a directory, or in one file, file by file in name's order.

    Requests that were refused and those that classify nothing are passed over, and so is a line or
    record that a crash has cut off. Raises TrafficError when there is no file, and for one that is
    damaged or compressed by anything but gzip.
    """
    paths = [directory] if directory.is_file() else sorted(directory.rglob("*"))
    files = [path for path in paths if path.is_file() and path.stat().st_size]
    if not files:
        raise TrafficError(
            f"{directory} holds no request log. Start a server that writes one: convoy serve "
            "--request-log DIR, or TensorFlow Serving with a logging_config"
        )
    for path in files:
        try:
            yield from _lines(path) if _is_text(path) else _records(path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
            raise _damaged(path, problem) from None


def _damaged(path: Path, problem: object) -> TrafficError:
    return TrafficError(f"{path} is damaged: {problem}. Repair it, or move it elsewhere")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(max(map(len, FOREIGN)))
    for magic, name in FOREIGN.items():
        if start.startswith(magic):
            raise TrafficError(
                f"{path} is compressed by {name}; expected gzip, or no compression. Unpack it, or "
                "move it elsewhere"
            )
    return start.startswith(GZIP)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if _is_gzip(path) else path.open("rb")  # type: ignore[return-value]


def _is_text(path: Path) -> bool:
    with _open(path) as file:
        return b"\0" not in file.read(TEXT_PROBE)


def _lines(path: Path) -> Iterator[Answers]:
    with _open(path) as file:
        for line in file:
            if (found := _parse(line)) is not None:
                yield found


def _parse(line: bytes) -> Answers | None:
    start = line.find(b"{")
    try:
        entry = json.loads(line[start:]) if start >= 0 else {}
        answers = entry["answers"]
        class_ids = np.array(answers["class_id"], np.int64)
        confidences = np.array(answers["confidence"], np.float64)
        moment = datetime.fromisoformat(entry["time"])
        version = int(entry["version"])
        model = str(entry["model"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return _sensible(Answers(model, version, class_ids, confidences, moment))


def _sensible(found: Answers) -> Answers | None:
    """The answers, unless no server can have given them."""
    ids, confidences = found.class_ids, found.confidences
    if ids.ndim != 1 or ids.shape != confidences.shape or found.version < 0:
        return None
    if found.moment is not None and found.moment.tzinfo is None:
        return None
    # Rounding lifts the sum of a softmax above 1 by as much as this; NaN is in no range.
    fit = (ids >= 0) & (confidences >= 0) & (confidences <= 1.001)
    return found if fit.all() else None


def _records(path: Path) -> Iterator[Answers]:
    import tensorflow as tf  # TFRecords are rare and TensorFlow takes seconds
    from google.protobuf.message import DecodeError

    from serving.prediction_log import records

    moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)  # a record itself has none
    try:
        for record in records(path, "GZIP" if _is_gzip(path) else ""):
            if (found := _read(record.predict_log.response, moment)) is not None:
                yield found
    except tf.errors.DataLossError as problem:
        if "truncated" not in problem.message:  # so a server that was killed leaves its last record
            corrupted = re.search(r"corrupted record at \d+", problem.message)
            raise _damaged(path, corrupted[0] if corrupted else "there is no record") from None
    except DecodeError:
        raise TrafficError(
            f"{path} holds records that are no PredictionLog. Move other files elsewhere"
        ) from None


def _read(response: Any, moment: datetime) -> Answers | None:
    outputs = response.outputs
    if "class_id" not in outputs or "probabilities" not in outputs:
        return None
    try:
        class_ids = to_array(outputs["class_id"])
        probabilities = to_array(outputs["probabilities"])
    except ValueError:
        return None
    if probabilities.ndim != 2 or not probabilities.shape[1] or class_ids.dtype != np.int64:
        return None
    spec = response.model_spec
    confidences = probabilities.max(axis=1).astype(np.float64)
    return _sensible(Answers(spec.name, spec.version.value, class_ids, confidences, moment))
