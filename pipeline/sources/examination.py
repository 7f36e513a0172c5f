"""Encoded images on their way into a prepared set: each is decoded once, to be sure of it.

What was found is noted on disk as it goes, so that an interrupted preparation, started again, does
not decode what it has decoded before.
"""

import itertools
import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import tensorflow as tf

from pipeline import formats, preprocess
from pipeline.listing import LeftOut

CHUNK = 256  # images decoded at a time: bounds what waits in memory, and what a kill costs
DECODERS = 4
Problem = str | None  # why an image cannot be used; None when it can
Quarantine = LeftOut  # images that do not decode
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """An image as bytes, and the rest of its example."""

    key: str  # what a person is told
    encoded: bytes
    rest: dict[str, Any]


@dataclass
class Examination:
    """The examination of one source's images, in an order that depends on its content alone."""

    quarantine: Quarantine = field(default_factory=list)  # filled as examples are asked for
    _known: dict[str, list[Problem]] = field(default_factory=dict)  # range of images -> findings
    _notes: TextIO | None = None

    @contextmanager
    def noted_in(self, path: Path) -> Iterator[None]:
        """Note findings in a file, after those of an interrupted examination, which are taken over.

        The file is removed at the end: the prepared set itself says then what was found.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="ascii") as notes:
            notes.seek(0)
            whole = notes.read().rpartition("\n")[0]  # a kill may have cut the last line
            notes.truncate(len(whole) + 1 if whole else 0)
            self._known = dict(json.loads(line) for line in whole.splitlines())
            self._notes = notes
            if examined := sum(len(problems) for problems in self._known.values()):
                log.info("%d images were examined before an interruption", examined)
            yield
        path.unlink()

    def sound(self, split: str, images: Iterable[Encoded]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the examples whose image decodes, and quarantine the others."""
        with ThreadPoolExecutor(DECODERS) as pool:
            for image, problem in self._examine(split, images, pool):
                if problem:
                    self.quarantine.append({"key": image.key, "reason": problem})
                else:
                    yield image.key, {**image.rest, "image": image.encoded}

    def _examine(
        self, split: str, images: Iterable[Encoded], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[Encoded, Problem]]:
        begun: deque[tuple[str, list[Encoded], list[Future[Problem]]]] = deque()
        for first, chunk in _chunks(images):
            name = f"{split} {first}+{len(chunk)}"
            unknown = [] if name in self._known else chunk
            begun.append((name, chunk, [pool.submit(decoding_problem, i.encoded) for i in unknown]))
            if len(begun) > 1:  # this chunk is decoded while the one before it is written
                yield from self._conclude(*begun.popleft())
        while begun:
            yield from self._conclude(*begun.popleft())

    def _conclude(
        self, name: str, chunk: list[Encoded], decoded: list[Future[Problem]]
    ) -> Iterator[tuple[Encoded, Problem]]:
        problems = self._known.get(name)
        if problems is None:
            problems = [future.result() for future in decoded]
            if self._notes is not None:
                print(json.dumps([name, problems]), file=self._notes, flush=True)
        return zip(chunk, problems, strict=True)


def decoding_problem(encoded: bytes) -> Problem:
    """Say why an image cannot be used, in the decoder's words; None when it can.

    The size is read before anything is decoded, so a small file of huge dimensions costs nothing.
    """
    try:
        preprocess.decode(tf.constant(encoded), None, 3)
    except tf.errors.OpError as problem:
        return formats.reason(problem.message)
    return None


def _chunks(images: Iterable[Encoded]) -> Iterator[tuple[int, list[Encoded]]]:
    iterator, first = iter(images), 0
    while chunk := list(itertools.islice(iterator, CHUNK)):
        yield first, chunk
        first += len(chunk)
