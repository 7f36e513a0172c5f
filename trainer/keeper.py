"""When and where a run keeps its state while it trains."""

import time
from pathlib import Path

import keras

from trainer import checkpoint
from trainer.checkpoint import Progress
from trainer.history import write_history
from trainer.peers import Alone, Peers

LARGEST_SHARE = 0.01  # of the time of training that states inside epochs may take
LEAST_SECONDS = 10.0  # between two of them: what a killed run loses at most, where writing is quick


class Keeper:
    """Writes states to `directory/checkpoints`, and `directory/history.csv`.

    `every` is the number of steps between two states inside an epoch; with None the clock decides.
    Where those states lie has no influence on the result of training. Of several processes that
    train together, the chief alone touches files and says when; all must make the same calls.
    """

    def __init__(
        self, directory: Path, every: int | None = None, peers: Alone | Peers | None = None
    ) -> None:
        self.directory, self.every, self.peers = directory, every, peers or Alone()
        self.states = directory / "checkpoints"
        self._written, self._cost = time.perf_counter(), 0.0

    def restore(self, model: keras.Model, between_epochs: bool = False) -> Progress:
        """Put the newest intact state back and forget what came after it.

        Without one, what the model is now becomes the first state: training that blows up in its
        first epoch can go back there. `between_epochs` and errors are those of checkpoint.newest
        and checkpoint.put.
        """
        kept = checkpoint.newest(self.states, between_epochs) if self.peers.is_chief else None
        fresh = checkpoint.collect(model, Progress())
        progress = checkpoint.put(model, self.peers.share(kept or fresh))
        if progress == Progress():
            self.save(model, progress)
        if self.peers.is_chief:
            checkpoint.discard_later(self.states, progress)
        return progress

    def is_due(self, progress: Progress) -> bool:
        """Tell whether a state should be written inside the epoch now; ask once in each step."""
        return self.peers.agree(self._is_due(progress))

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Write a state, and history.csv after an epoch."""
        started = time.perf_counter()
        state = checkpoint.collect(model, progress)
        if not self.peers.is_chief:
            return
        checkpoint.save(self.states, state)
        if progress.history and progress.step == 0:
            write_history(self.directory / "history.csv", progress.history)
        self._written = time.perf_counter()
        self._cost = self._written - started

    def save_best(self, model: keras.Model, epoch: int) -> None:
        """Keep the weights as those of the best epoch so far, counted from 1."""
        if self.peers.is_chief:
            checkpoint.save_best(self.states, model, epoch)

    def restore_best(self, model: keras.Model, epoch: int) -> None:
        """Put the best epoch's weights back, in the chief. Raises ValueError when it cannot."""
        if self.peers.is_chief:
            checkpoint.restore_best(self.states, model, epoch)

    def _is_due(self, progress: Progress) -> bool:
        if self.every is not None:
            return progress.step % self.every == 0
        least = max(LEAST_SECONDS, self._cost / LARGEST_SHARE)
        return time.perf_counter() - self._written >= least
