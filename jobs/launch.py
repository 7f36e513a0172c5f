"""Several workers of one training on this machine: started, watched and started again together.

A worker that has died can never join the others again, so when one is lost all are killed and
started anew; the chief goes on from its newest checkpoint.
"""

import json
import logging
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from jobs.exits import FAILED, INTERRUPTED
from jobs.gpus import visible_gpus
from jobs.leash import convoy

GRACE = 60.0  # seconds from the request to stop until workers are killed
LOOKED = 0.5  # seconds between two looks at whether to stop
LAST_LINES = 20  # of a worker's log, when it fails
log = logging.getLogger(__name__)


@dataclass
class Worker:
    """One process and its log."""

    index: int
    process: subprocess.Popen[bytes]
    log: Path
    pidfd: int = field(init=False)

    def __post_init__(self) -> None:
        self.pidfd = os.pidfd_open(self.process.pid)

    def last_words(self) -> str:
        """Give the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:])


@dataclass(frozen=True)
class Verdict:
    """How an attempt ended: `lost` says that another start may mend it."""

    code: int
    lost: bool = False


def launch(arguments: Sequence[str], workers: int, restarts: int, stop: threading.Event) -> int:
    """Run `convoy ARGUMENTS` in so many processes that train together; give the exit code.

    It is the chief's. `stop` is passed on as SIGTERM: the chief saves and the code is 75.
    """
    for attempt in range(restarts + 1):
        verdict = _attempt(_without_force(arguments) if attempt else arguments, workers, stop)
        if not verdict.lost or stop.is_set():
            return INTERRUPTED if verdict.lost else verdict.code
        if attempt < restarts:
            log.warning("starting all workers again (%d of %d)", attempt + 1, restarts)
    log.error("gave up after %d restarts; the same command goes on later", restarts)
    return FAILED


def _attempt(arguments: Sequence[str], workers: int, stop: threading.Event) -> Verdict:
    with ExitStack() as stack:
        crew = _start_all(arguments, workers, stack)
        running, asked = dict(enumerate(crew)), 0.0
        while True:
            for worker in _ended(running):
                del running[worker.index]
                if (verdict := _judge(worker, bool(asked))) is not None:
                    return verdict
            if stop.is_set() and not asked:
                asked = time.monotonic()
                _signal(running.values(), signal.SIGTERM)
            if asked and time.monotonic() - asked > GRACE:
                return Verdict(INTERRUPTED)


def _start_all(arguments: Sequence[str], workers: int, stack: ExitStack) -> list[Worker]:
    """Start the workers; leaving the stack kills those that still run."""
    ports = free_ports(workers)
    logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="convoy-launch-")))
    crew: list[Worker] = []
    stack.callback(_end, crew)
    for index in range(workers):
        words = logs / f"worker-{index}.log"
        with words.open("wb") as file:
            output = file if index else None  # the chief speaks for itself
            process = subprocess.Popen(
                convoy(*arguments),
                env=os.environ | environment(index, ports),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # Ctrl-C must reach it once, through us
            )
        crew.append(Worker(index, process, words))
    return crew


def environment(index: int, ports: Sequence[int]) -> dict[str, str]:
    """Give what makes a process one of several workers, with its share of the GPUs."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    task = {"type": "worker", "index": index}
    told = {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
    if gpus := visible_gpus():
        told["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[index :: len(ports)])
    return told


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _ended(running: dict[int, Worker]) -> list[Worker]:
    """Wait a moment for workers to end; the chief comes first, whose verdict counts."""
    fds = [worker.pidfd for worker in running.values()]
    ready, _, _ = select.select(fds, [], [], LOOKED)
    return [worker for _, worker in sorted(running.items()) if worker.pidfd in ready]


def _judge(worker: Worker, asked_to_stop: bool) -> Verdict | None:
    """Tell what a worker's end means for the whole; None when it goes on."""
    code = worker.process.wait()
    final = code >= 0 and (code != INTERRUPTED or asked_to_stop)
    if worker.index == 0 and final:
        return Verdict(code)
    if worker.index and (code == 0 or asked_to_stop):
        return None  # trained, or stopped: the chief goes on
    if code > 0 and (words := worker.last_words()):
        log.warning("worker %d said:\n%s", worker.index, words)
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    log.warning("worker %d ended %s", worker.index, how)
    return Verdict(code, lost=code < 0 or code == INTERRUPTED)


def _end(crew: list[Worker]) -> None:
    _signal(crew, signal.SIGKILL)
    for worker in crew:
        worker.process.wait()
        os.close(worker.pidfd)


def _signal(workers: Iterable[Worker], number: signal.Signals) -> None:
    for worker in workers:
        worker.process.send_signal(number)  # does nothing when it has been waited for


def _without_force(arguments: Sequence[str]) -> list[str]:
    """Give the command that goes on with the run that the first start began."""
    return [argument for argument in arguments if argument != "--force"]
