"""A process that sends damaged files to an exported model, one by one.

    python decoding_process.py EXPORT FORMAT FIRST COUNT

writes each file's seed to stdout before it is sent, and "done" at the end: the last seed of a
process that died is that of the file it died of. A file that is answered must be answered alike
over memory that was filled with one byte and with another: what differs was never written.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np

from serving.errors import RequestError
from serving.servable import SavedModel
from tests.support.mutations import corpus, mutated

M_PERTURB = -6  # of malloc.h


def ask(model: SavedModel, encoded: bytes, fill: int) -> np.ndarray | None:
    """Return the probabilities for a file; None when it is refused."""
    ctypes.CDLL(None).mallopt(M_PERTURB, fill)
    image_bytes = np.array([encoded, None], object)[:1]
    try:
        answer = model.predict("image_bytes", {"image_bytes": image_bytes})
    except RequestError as error:
        if error.code != "INVALID_ARGUMENT":
            raise
        return None
    return answer["probabilities"]


def main(export: str, file_format: str, first: str, count: str) -> None:
    """Send the files, and say which."""
    model, files = SavedModel(Path(export)), corpus(file_format)
    answered = 0
    for number in range(int(first), int(first) + int(count)):
        seed = f"{file_format} {number}"
        sys.stdout.write(f"{seed}\n")
        sys.stdout.flush()
        encoded = mutated(files, seed)
        once, twice = (ask(model, encoded, fill) for fill in (1, 200))
        if once is not None:
            answered += 1
            if twice is None or not np.array_equal(once, twice):
                raise AssertionError(f"{seed} has two answers: {once} and {twice}")
    sys.stdout.write(f"done {answered}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
