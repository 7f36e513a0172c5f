"""A SavedModel served by a fresh embedded server, before anybody else sees it."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.bless import Export
from jobs.embedded import embedded_server
from jobs.exits import FAILED, CommandError
from jobs.golden import LIMIT, Golden
from jobs.release_config import BlessConfig
from pipeline.whole import clear
from serving import catalog
from serving.client import Client, Options
from serving.errors import CallError

MODEL, VERSION = "candidate", 1
LOG = "server.log"
WARM, TIMED = 5, 50  # requests
ANSWER_SECONDS = 60.0


class VerifyFailed(CommandError):
    """The served model does not answer like the trained network."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FAILED)


def verify(export: Path, golden: Golden, place: Path) -> float:
    """Hold a served SavedModel against its golden images, and give the largest difference.

    `place` becomes the server's store and is removed. Raises VerifyFailed.
    """
    with _rehearsed(export, place) as client:
        try:
            gap = golden.gap(client, MODEL, VERSION)
        except CallError as problem:
            log = (place / LOG).read_text(errors="replace").splitlines()[-3:]
            raise VerifyFailed(f"{export} cannot be served: {problem}\n" + "\n".join(log)) from None
    if gap > LIMIT:
        raise VerifyFailed(
            f"{export} does not answer like the trained network: probabilities differ by up to "
            f"{gap:.2g}, allowed are {LIMIT:.0e}"
        )
    return gap


def latency_ms(export: Path, golden: Golden, place: Path) -> float:
    """Give the median of the milliseconds that one image takes, over gRPC on this machine's CPU."""
    signature, (name, rows) = list(golden.requests.items())[-1]
    with _rehearsed(export, place) as client:
        seconds = []
        for number in range(WARM + TIMED):
            row = rows[[number % len(rows)]]  # one row, bytes or numbers, of a batch
            started = time.perf_counter()
            client.infer({name: row}, model=MODEL, signature=signature)
            seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds[WARM:])


def measure(
    export: Path, config: BlessConfig, samples: Callable[[], Golden], place: Path
) -> Export:
    """Measure of a SavedModel what the job limits; `samples` are asked for only if need be."""
    latency = None
    if config.max_latency_ms is not None:
        latency = latency_ms(export, samples(), place)
    return Export(latency, size_mb(export))


def size_mb(export: Path) -> float:
    """Give the size of a SavedModel directory in megabytes."""
    return sum(path.stat().st_size for path in export.rglob("*") if path.is_file()) / 1e6


@contextmanager
def _rehearsed(export: Path, place: Path) -> Iterator[Client]:
    clear(place)  # an interrupted attempt
    (place / MODEL).mkdir(parents=True, exist_ok=True)  # where NFS keeps some of it
    (place / MODEL / str(VERSION)).symlink_to(export.resolve(), target_is_directory=True)
    config = catalog.empty()
    catalog.assign(config, MODEL, {VERSION}, {})
    catalog.write(place, config)
    with (
        embedded_server(str(place), place / LOG) as address,
        Client(address, Options(timeout=ANSWER_SECONDS)) as client,
    ):
        yield client
    clear(place)
