"""Which examples a network was trained on: a file beside it that knows them by their content."""

import numpy as np

FILE_NAME = "trained_on.bin"
KEPT = 5  # bytes of an example's number: of a million examples one in a million is mixed up
WHOLE = 8


def record(contents: np.ndarray) -> bytes:
    """Give the file's content for the training examples' `Slice.contents`, uint64 [N]."""
    numbers = np.unique(_shortened(contents))
    return numbers.astype(">u8").view(np.uint8).reshape(-1, WHOLE)[:, WHOLE - KEPT :].tobytes()


def known(contents: np.ndarray, recorded: bytes) -> np.ndarray:
    """Tell which examples, uint64 [N], are among those recorded; bool [N]."""
    kept = np.frombuffer(recorded, np.uint8).reshape(-1, KEPT)
    padded = np.zeros((len(kept), WHOLE), np.uint8)
    padded[:, WHOLE - KEPT :] = kept
    return np.isin(_shortened(contents), padded.view(">u8").ravel().astype(np.uint64))


def _shortened(contents: np.ndarray) -> np.ndarray:
    return contents.astype(np.uint64) >> np.uint64(8 * (WHOLE - KEPT))
