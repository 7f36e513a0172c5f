"""Training state on disk: every variable of model, optimizer and metrics, and how far they are.

Keras' own files leave out the states of random generators, so a resumed dropout would differ; here
all of `model.variables`, `optimizer.variables` and `model.metrics_variables` are kept, and a
resumed run equals an undisturbed one bit for bit, the averages of an unfinished epoch included.
"""

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.whole import replacing
from trainer.history import History, best_epoch

STATES, BETWEEN_EPOCHS = "state-*.npz", "state-*-00000000.npz"  # by epochs and steps done
BEST = "best-*.npz"
DIGEST_BYTES = 32  # sha256 of the file up to there
KEPT = 2  # the newest, and the one before in case the newest is damaged
State = dict[str, np.ndarray]  # by kind and number of a variable; "progress" is JSON
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far training has come. Best-so-far and early stopping follow from the history."""

    history: History = field(default_factory=list)  # one entry per finished epoch
    step: int = 0  # steps done of the epoch after those
    seconds: float = 0.0  # that these steps took
    rollbacks: int = 0  # of all epochs, after divergences

    @property
    def name(self) -> str:
        return f"state-{len(self.history):05}-{self.step:08}.npz"


def collect(model: keras.Model, progress: Progress) -> State:
    """Give the state of a compiled, built model.

    Metrics are sums over all processes that train together, so each of them must call it.
    """
    state = {"progress": np.array(json.dumps(asdict(progress)))}
    for kind, variables in _state(model).items():
        state |= _named(kind, variables)
    return state


def save(directory: Path, state: State) -> None:
    """Write a state, whole or not at all; drop what it replaces.

    The two newest states stay, and the newest one between two epochs.
    """
    _write(directory / _progress(state).name, state)
    _prune(directory)


def newest(directory: Path, between_epochs: bool = False) -> State | None:
    """Give the newest intact state; None when there is none. It changes no file.

    `between_epochs` leaves out the states inside an epoch, whose places depend on the clock: with
    it, two equal runs go back to equal states.
    """
    for path in _newest_first(directory, BETWEEN_EPOCHS if between_epochs else STATES):
        if (state := _read_state(path)) is not None:
            return state
        log.warning("checkpoint %s is damaged: going back to the one before", path)
    return None


def put(model: keras.Model, state: State) -> Progress:
    """Put a state into a compiled, built model, and give its progress.

    Raises ValueError when the state is that of another network or optimizer.
    """
    for kind, variables in _state(model).items():
        _assign(variables, state, kind)
    return _progress(state)


def discard_later(directory: Path, progress: Progress) -> None:
    """Remove what was kept after a progress: training goes on from there, and may go elsewhere."""
    later = [path for path in directory.glob(STATES) if path.name > progress.name]
    last_best = _best(directory, len(progress.history)).name
    later += [path for path in directory.glob(BEST) if path.name > last_best]
    for path in [*later, *directory.glob("*.partial")]:
        path.unlink()


def save_best(directory: Path, model: keras.Model, epoch: int) -> None:
    """Keep the weights as those of the best epoch so far, counted from 1."""
    _write(_best(directory, epoch), _named("model", model.variables))
    for old in _newest_first(directory, BEST)[KEPT:]:  # an older state needs the older one
        old.unlink()


def restore_best(directory: Path, model: keras.Model, epoch: int) -> None:
    """Put the best epoch's weights back. Raises ValueError when they cannot be read."""
    arrays = _read(_best(directory, epoch))
    if not arrays:
        raise ValueError(f"no readable checkpoint {_best(directory, epoch)}: train first")
    _assign(model.variables, arrays, "model")


def assign(variables: Iterable[Any], values: Iterable[np.ndarray]) -> None:
    """Set variables to values of the same shapes."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _state(model: keras.Model) -> dict[str, list[Any]]:
    return {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def _named(kind: str, variables: list[Any]) -> dict[str, np.ndarray]:
    return {f"{kind}{index:05}": variable.numpy() for index, variable in enumerate(variables)}


def _assign(variables: list[Any], arrays: Mapping[str, np.ndarray], kind: str) -> None:
    kept = [arrays[name] for name in sorted(arrays) if name.startswith(kind)]
    if [array.shape for array in kept] != [tuple(variable.shape) for variable in variables]:
        raise ValueError(f"the checkpoint was made by another {kind} than the job describes")
    assign(variables, kept)


def _read_state(path: Path) -> State | None:
    """Read a state whose best weights can be read too: one is of no use without the other."""
    if (state := _read(path)) is None:
        return None
    best = best_epoch(_progress(state).history)
    return state if best == 0 or _read(_best(path.parent, best)) else None


def _progress(state: State) -> Progress:
    return Progress(**json.loads(str(state["progress"])))


def _best(directory: Path, epoch: int) -> Path:
    return directory / f"best-{epoch:05}.npz"


def _newest_first(directory: Path, pattern: str) -> list[Path]:
    return sorted(directory.glob(pattern), reverse=True)


def _prune(directory: Path) -> None:
    spared = _newest_first(directory, BETWEEN_EPOCHS)[:1]
    for old in _newest_first(directory, STATES)[KEPT:]:
        if old not in spared:
            old.unlink()


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # NumPy's stub reads ** as its flags
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()  # leaves the file at its end
        file.write(digest)  # a zip's own sums do not cover its table of contents


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """Give the arrays of a file, or None when it is not exactly what was written."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    archive, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(archive).digest() != digest:
        return None
    with np.load(io.BytesIO(archive)) as arrays:
        return dict(arrays)
