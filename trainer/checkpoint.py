"""Training state on disk: every variable of model and optimizer, and the history so far.

Keras' own files leave out the states of random generators, so a resumed dropout would differ; here
all of `model.variables` and `optimizer.variables` are kept, and a resumed run equals an undisturbed
one bit for bit.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainer.history import History

KEPT = 2  # the newest, and the one before in case the newest is damaged
BEST = "best.npz"


def save(directory: Path, model: keras.Model, history: History) -> None:
    """Write the state after the last epoch of `history`, whole or not at all; drop older ones."""
    arrays = {f"model{i:05}": v.numpy() for i, v in enumerate(model.variables)}
    arrays |= {f"optimizer{i:05}": v.numpy() for i, v in enumerate(model.optimizer.variables)}
    arrays["history"] = np.array(json.dumps(history))
    _write(directory / f"epoch-{len(history):05}.npz", arrays)
    for old in _newest_first(directory)[KEPT:]:
        old.unlink()


def restore(directory: Path, model: keras.Model) -> History:
    """Put the newest undamaged state back into a compiled, built model.

    Gives its history, an empty one when there is no state. Raises ValueError when the state is
    that of another network or optimizer.
    """
    for path in _newest_first(directory):
        if arrays := _read(path):
            _assign(model.variables, arrays, "model")
            _assign(model.optimizer.variables, arrays, "optimizer")
            history: History = json.loads(str(arrays["history"]))
            return history
    return []


def save_best(directory: Path, model: keras.Model) -> None:
    """Keep the weights as the best so far."""
    _write(directory / BEST, {f"model{i:05}": v.numpy() for i, v in enumerate(model.variables)})


def restore_best(directory: Path, model: keras.Model) -> None:
    """Put the best weights back. Raises ValueError when there are none that can be read."""
    arrays = _read(directory / BEST)
    if not arrays:
        raise ValueError(f"no readable checkpoint {directory / BEST}: train first")
    _assign(model.variables, arrays, "model")


def _assign(variables: list[Any], arrays: dict[str, np.ndarray], prefix: str) -> None:
    if len(variables) != sum(name.startswith(prefix) for name in arrays):
        raise ValueError(f"the checkpoint was made by another {prefix} than the job describes")
    for index, variable in enumerate(variables):
        variable.assign(arrays[f"{prefix}{index:05}"])


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("epoch-*.npz"), reverse=True)


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_suffix(".partial")
    with staged.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy's stub reads ** as its flags
        file.flush()
        os.fsync(file.fileno())
    staged.rename(path)


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with path.open("rb") as file, np.load(file) as archive:
            return dict(archive)  # reads all: the zip's checksums cover every array
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
