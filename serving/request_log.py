"""A log of samples of the requests: what was asked of which version and what it answered.

One JSON object a line. Inputs appear as type and shape, never as pixels. Outputs that are as small
as a label or a few probabilities appear with their values, and a classifier's answers always with
class and confidence, so that `serving.traffic` can read what a model is used for.
"""

import errno
import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np

from serving.observation import Observation
from serving.tensors import Array

log = logging.getLogger("serving.requests")

KEEP_DAYS = 30

MOST_OF_NAME = 128  # characters of a name, which a caller may have made up


class RequestLog:
    """Writes a sample of the requests through `write`, the logger "serving.requests" by default.

    `rate`: the share of requests that is logged, 0 to 1.
    """

    MAX_VALUES = 16
    MAX_ANSWERS = 1024  # of one request; a longer line helps nobody

    def __init__(self, rate: float, write: Callable[[str], None] | None = None) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate of the request log must lie between 0 and 1, got {rate}")
        self._rate = rate
        self._write = write or (lambda line: log.info("%s", line))

    def observe(self, seen: Observation) -> None:
        if random.random() >= self._rate:  # noqa: S311  # a sample, no secret
            return
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "api": seen.api,
            "entrypoint": seen.entrypoint,
            "model": seen.model[:MOST_OF_NAME],
            "version": seen.version,
            "signature": seen.signature[:MOST_OF_NAME],
            "status": seen.status,
            "milliseconds": round(seen.seconds * 1e3, 3),
            "inputs": {name: _outline(array) for name, array in seen.inputs.items()},
            "outputs": {name: self._values(array) for name, array in seen.outputs.items()},
        }
        if answers := self._answers(seen.outputs):
            line["answers"] = answers
        self._write(json.dumps(line, default=_readable))

    def _values(self, array: Array) -> object:
        return _outline(array) if array.size > self.MAX_VALUES else array.tolist()

    def _answers(self, outputs: Mapping[str, Array]) -> dict[str, list[Any]] | None:
        """Class and confidence of each row; None for a signature that does not classify."""
        probabilities = outputs.get("probabilities")
        if "class_id" not in outputs or probabilities is None or probabilities.ndim != 2:
            return None
        confidence = probabilities[: self.MAX_ANSWERS].max(axis=1).astype(np.float64)
        return {
            "class_id": outputs["class_id"][: self.MAX_ANSWERS].tolist(),
            "confidence": confidence.round(6).tolist(),
        }


class DailyFile:
    """Appends lines to `requests-YYYYMMDD.jsonl` in a directory, a new file each day (UTC).

    Files older than `keep_days` are deleted. Servers may share a directory: a line is one write.
    A file that cannot be written is reported once, and no request fails of it.
    """

    def __init__(self, directory: Path, keep_days: int = KEEP_DAYS) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._keep = timedelta(days=keep_days)
        self._lock = threading.Lock()
        self._day: date | None = None
        self._file: IO[bytes] | None = None
        self._failing = False
        self._torn = False

    def write(self, line: str) -> None:
        """Append a line."""
        with self._lock:
            try:
                self._append(line.encode() + b"\n")
            except OSError as error:
                if not self._failing:
                    log.error("the request log cannot be written: %s: %s", self._directory, error)
                self._failing = True
            else:
                self._failing = False

    def close(self) -> None:
        """Close the file; a line that comes later opens it again."""
        with self._lock:
            if self._file:
                self._file.close()
            self._file = self._day = None

    def _append(self, line: bytes) -> None:
        """Write a line; where a full disk takes only its beginning, the next one starts anew."""
        whole = b"\n" * self._torn + line
        self._torn = self._today().write(whole) < len(whole)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _today(self) -> IO[bytes]:
        today = datetime.fromtimestamp(time.time(), UTC).date()
        if self._file is None or today != self._day:
            if self._file:
                self._file.close()
            self._file = self._path(today).open("ab", buffering=0)
            self._day = today
            self._expire(today)
        return self._file

    def _expire(self, today: date) -> None:
        oldest = self._path(today - self._keep).name
        for path in self._directory.glob("requests-????????.jsonl"):
            if path.name < oldest:
                path.unlink(missing_ok=True)

    def _path(self, day: date) -> Path:
        return self._directory / f"requests-{day:%Y%m%d}.jsonl"


def _readable(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _outline(array: Array) -> str:
    kind = "string" if array.dtype.kind == "O" else str(array.dtype)
    return f"{kind}[{','.join(map(str, array.shape))}]"
