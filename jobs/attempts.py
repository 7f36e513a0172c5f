"""What a due run takes: one attempt, or several when it is interrupted or killed."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from jobs.child import Child, Ended

log = logging.getLogger(__name__)

Command = Callable[[str | None], list[str]]  # the run to resume, or None -> the command line


@dataclass(frozen=True)
class Patience:
    """How often a run that was interrupted or killed is resumed, and after how many seconds.

    So is one that another run of its name has kept out. One that cannot be resumed, because its
    data have changed or it is gone, is started anew. Any other failure is final until the run is
    next due: the same settings on the same data would fail the same way.
    """

    retries: int = 2
    seconds: float = 30.0


class Attempts:
    """Runs one command after another to its end, until it is stopped for good."""

    def __init__(self, patience: Patience, on_line: Callable[[str], None]) -> None:
        self._patience = patience
        self._on_line = on_line
        self._child: Child | None = None
        self._starting = threading.RLock()  # a signal handler's thread may hold it already
        self._stopping = threading.Event()

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def carry_out(
        self, command: Command, resume: str | None, on_run: Callable[[str], None]
    ) -> tuple[Ended, int] | None:
        """Run the command and give its end and the number of attempts; None when stopped before.

        `on_run` is told each run directory as soon as it is known. A child may be tied to the
        thread that starts it, so this one waits for its end.
        """
        ended, tries = None, 0
        while (child := self._start(command(resume), on_run)) is not None:
            ended, tries = child.wait(), tries + 1
            if resume and ended.refused:
                log.info("cannot resume %s, starting anew: %s", resume, ended.message)
                resume = None
                continue
            resume = ended.run or resume
            if not ended.unfinished or tries > self._patience.retries or self.stopping:
                break
            again = f"resuming {resume}" if resume else "starting again"
            log.info("ended with code %d, %s", ended.code, again)
            self._stopping.wait(self._patience.seconds)
        # An attempt that ended before it said its run was one at the run of the attempt before it.
        return (replace(ended, run=resume), tries) if ended else None

    def stop(self) -> None:
        """Start nothing more, and ask the running child to stop; each call asks it again."""
        with self._starting:
            self._stopping.set()
            if self._child:
                self._child.terminate()

    def _start(self, command: list[str], on_run: Callable[[str], None]) -> Child | None:
        with self._starting:  # so that stop() finds either no child or this one
            if self.stopping:
                return None
            self._child = Child(command, self._on_line, on_run)
            return self._child
