"""Which worker has which trial, and until when it must have been heard of again."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

ASLEEP = 5.0  # seconds between two looks from which on the one who looks has been away


@dataclass(frozen=True)
class Lease:
    """A trial's stay with a worker."""

    worker: str
    seconds: float  # that the worker may be silent
    until: float  # by the clock of its Leases


class Leases:
    """Leases by trial. Threads may call at the same time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds and never goes back."""
        self._clock, self._lock = clock, threading.Lock()
        self._leases: dict[str, Lease] = {}
        self._looked = clock()

    def grant(self, trial: str, worker: str, seconds: float) -> None:
        """Give a trial to a worker that will be heard of at least every so many seconds."""
        with self._lock:
            self._leases[trial] = Lease(worker, seconds, self._clock() + seconds)

    def renew(self, trial: str, worker: str) -> bool:
        """Take in a sign of life; False when the trial is not this worker's, or no longer."""
        with self._lock:
            lease = self._leases.get(trial)
            if lease is None or lease.worker != worker:
                return False
            self._leases[trial] = replace(lease, until=self._clock() + lease.seconds)
            return True

    def end(self, trial: str) -> None:
        """Take a trial from its worker."""
        with self._lock:
            self._leases.pop(trial, None)

    def holder(self, trial: str) -> str | None:
        """Give the worker that has a trial."""
        with self._lock:
            lease = self._leases.get(trial)
            return lease.worker if lease else None

    def holdings(self) -> dict[str, str]:
        """Give the trial of every worker that has one."""
        with self._lock:
            return {lease.worker: trial for trial, lease in self._leases.items()}

    def expired(self) -> dict[str, Lease]:
        """Give the leases, by trial, whose workers have been silent for too long.

        Time in which nobody looked, because this process was suspended, counts for no worker: none
        of them could be heard in it.
        """
        with self._lock:
            now = self._clock()
            away, self._looked = now - self._looked, now
            if away > ASLEEP:
                self._leases = {
                    trial: replace(lease, until=lease.until + away)
                    for trial, lease in self._leases.items()
                }
            return {trial: lease for trial, lease in self._leases.items() if lease.until < now}
