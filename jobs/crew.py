"""The processes that train one network together, as TF_CONFIG names them.

All of them run the same command. The first, the chief, goes through every stage of the run; the
others train along and end when training does. They share no files: what a chief that was started
again restores, it sends to them.
"""

import contextlib
import json
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.exits import INTERRUPTED, CommandError, ConfigError
from trainer.cluster import Cluster

START_DEADLINE = "CONVOY_START_DEADLINE"  # seconds that workers wait for each other
PATIENCE = "300"  # machines of a cluster pull images and start at different times
log = logging.getLogger(__name__)


class Crew:
    """A process and those that it trains with, if there are any."""

    def __init__(self, cluster: Cluster | None = None) -> None:
        self.cluster = cluster
        self._strategy: Any = None
        self._peers: Any = None
        self._waiting = False  # the others, for the chief's word

    @property
    def trains_along(self) -> bool:
        """Tell whether another process is the chief."""
        return self.cluster is not None and not self.cluster.is_chief

    def gather(self) -> None:
        """Meet the other processes; call it before TensorFlow runs anything else.

        A process that waits in vain for START_DEADLINE seconds is ended by SIGALRM: a worker that
        is started while the others still train can never join them.
        """
        if self.cluster is None or self._peers is not None:
            return
        from trainer import distribute
        from trainer.peers import peers_of

        seconds = float(os.environ.get(START_DEADLINE, PATIENCE))
        count = len(self.cluster.workers)
        log.info("waiting for all %d workers, at most %g s (%s)", count, seconds, START_DEADLINE)
        with _deadline(seconds), lost_workers():
            try:
                self._strategy, why = distribute.choose(self.cluster)
            except RuntimeError as problem:  # the data of a trained run have changed meanwhile
                raise CommandError(f"start again: {problem}", INTERRUPTED) from None
            self._peers = peers_of(self._strategy)
            self._peers.tell()
        self._waiting = True
        log.info("devices: %s", why)

    def begin(self, digest: str) -> Any:
        """Give the strategy to train under; the chief lets the others begin, on equal data."""
        if self.cluster is None:
            from trainer import distribute

            self._strategy, why = distribute.choose()
            log.info("devices: %s", why)
        elif self._peers is not None:
            with lost_workers():
                self._peers.tell(digest.encode())
            self._waiting = False
        return self._strategy

    def hear(self) -> str | None:
        """Wait for the chief's word: the digest of the data to train on, None to go home."""
        with lost_workers():
            digest = self._peers.tell().decode()
        return digest or None

    def join(self, digest: str, expected: str) -> Any:
        """Give the strategy to train under along with the chief.

        Raises ConfigError when the data here are not those of the chief.
        """
        if digest != expected:
            raise ConfigError(
                f"this worker's data have the digest {digest}, and the chief's {expected}: all "
                "workers must read the same files"
            )
        return self._strategy

    def dismiss(self) -> None:
        """Send the others home if they still wait; the chief calls it however it ends."""
        if self._waiting and not self.trains_along:
            with contextlib.suppress(CommandError), lost_workers():
                self._peers.tell()
            self._waiting = False


def read_cluster(environment: Mapping[str, str]) -> Cluster | None:
    """Read TF_CONFIG; None when it is not set or names one worker. Raises ConfigError."""
    text = environment.get("TF_CONFIG")
    if not text:
        return None
    try:
        tree = json.loads(text)
        addresses, task = tree["cluster"], tree["task"]
        kinds = [kind for kind in ("chief", "worker") if kind in addresses]
        workers = [(kind, i) for kind in kinds for i in range(len(addresses[kind]))]
        index = workers.index((task["type"], int(task["index"])))
        places = tuple(str(addresses[kind][i]) for kind, i in workers)
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        raise ConfigError(
            f"TF_CONFIG is {text}, of which {problem!r} is wrong. Expected, such as: "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}'
        ) from None
    return Cluster(places, index) if len(places) > 1 else None


@contextlib.contextmanager
def lost_workers() -> Iterator[None]:
    """Turn the loss of a worker into an end that another start can mend."""
    import tensorflow as tf

    errors = tf.errors
    try:
        yield
    except (errors.UnavailableError, errors.AbortedError, errors.CancelledError) as problem:
        reason = str(problem).partition("\n")[0]
        raise CommandError(
            f"a worker was lost ({reason}). Start all of them again: they go on from the newest "
            "checkpoint",
            INTERRUPTED,
        ) from None


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Let the kernel end the process by SIGALRM when the block takes longer.

    TensorFlow waits in there with Python's lock held: no thread or handler of ours could do it.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
