"""Many callers at once: hot swaps, memory, and the client in an environment of its own."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import AsyncClient, Client, Options
from serving.exchange import Target
from serving.load import Load, encode, measure
from serving.store import Store
from tests.support.classifier import save_classifier
from tests.support.forkserver import ForkServer, Process
from tests.support.running import IMAGE, version_of
from tests.support.waiting import until

SERVE = """
import sys
from dataclasses import replace
from pathlib import Path
from serving.server import serve
from serving.settings import Listen, of_store
settings = of_store(Path(sys.argv[1]), Listen(port=0, rest_port=None))
loading = replace(settings.loading, poll_config=0.1, poll_versions=0.1)
serve(replace(settings, loading=loading), lambda s: print(s.grpc_address, flush=True))
"""


@contextmanager
def server_process(forkserver: ForkServer, store: Store) -> Iterator[tuple[str, Process]]:
    with forkserver.start("-c", SERVE, str(store.root)) as process:
        yield process.stdout.readline().strip(), process


def wait_for(client: Client, version: int) -> None:
    """Wait until a version answers."""
    until(lambda: version_of(client) == version, f"version {version}")


@dataclass
class Seen:
    """One answer: when it was asked for and given, by which version, with which label."""

    asked: float
    given: float
    version: int
    label: str


@dataclass(eq=False)  # threads are hashed
class Callers(threading.Thread):
    """Asks from `count` coroutines over one channel until told to stop."""

    address: str
    count: int
    seen: list[Seen] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)  # a test that fails must end all the same
        self.stopping = threading.Event()

    def run(self) -> None:
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        async with AsyncClient(self.address, Options(retries=0, timeout=30)) as client:
            await asyncio.gather(*(self._repeat(client) for _ in range(self.count)))

    async def _repeat(self, client: AsyncClient) -> None:
        while not self.stopping.is_set():
            asked = time.monotonic()
            try:
                (answer,) = await client.predict(IMAGE, model="shapes")
            except Exception as error:
                self.failed.append(error)
            else:
                seen = Seen(asked, time.monotonic(), answer.version, answer.label)
                self.seen.append(seen)


@dataclass
class Reign:
    """When a version was live: from before it was published to after its successor answered."""

    version: int
    label: str
    began: float
    ended: float = float("inf")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_request_fails_through_hot_swaps_and_rollbacks(
    store: Store, classifiers: list[Path], forkserver: ForkServer
):
    labels = ["zero", "one", "two"]
    first = store.publish("shapes", classifiers[0])
    made = {first: "zero"}
    reigns = [Reign(first, "zero", time.monotonic())]
    with server_process(forkserver, store) as (address, _), Client(address) as probe:
        callers = Callers(address, 32)
        callers.start()
        for swap in range(25):
            began = time.monotonic()
            if swap % 5 == 4:
                version = store.rollback("shapes")
            else:
                version = store.publish("shapes", classifiers[(swap + 1) % 3])
                made[version] = labels[(swap + 1) % 3]
            wait_for(probe, version)
            store.settle("shapes")
            reigns[-1].ended = time.monotonic()
            reigns.append(Reign(version, made[version], began))
        until(lambda: len(callers.seen) >= 20_000, seconds=300)
        callers.stopping.set()
        callers.join()
    assert callers.failed == []
    assert len(callers.seen) >= 20_000
    wrong = [seen for seen in callers.seen if not any(_fits(seen, reign) for reign in reigns)]
    assert wrong == []


def _fits(seen: Seen, reign: Reign) -> bool:
    same = (seen.version, seen.label) == (reign.version, reign.label)
    return same and seen.given >= reign.began and seen.asked <= reign.ended


AWAY_SECONDS = 10  # a remount, or a server of files that is started again


@pytest.mark.slow
def test_no_request_fails_while_the_store_is_away(
    store: Store, classifiers: list[Path], forkserver: ForkServer
):
    version = store.publish("shapes", classifiers[0])
    with server_process(forkserver, store) as (address, _), Client(address) as probe:
        callers = Callers(address, 16)
        callers.start()
        until(lambda: len(callers.seen) >= 100)
        away = store.root.rename(store.root.with_name("away"))
        left = time.monotonic()
        time.sleep(AWAY_SECONDS)
        away.rename(store.root)
        back = time.monotonic()
        following = store.publish("shapes", classifiers[1])
        wait_for(probe, following)
        callers.stopping.set()
        callers.join()
    assert callers.failed == []
    meanwhile = [seen for seen in callers.seen if left <= seen.asked and seen.given <= back]
    assert {(seen.version, seen.label) for seen in meanwhile} == {(version, "zero")}
    assert max(seen.given for seen in meanwhile) > back - 1  # to the end


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_reloads(store: Store, tmp_path: Path):
    exports = [save_classifier(tmp_path / str(n), n, ballast=1_000_000) for n in range(2)]
    store = Store(store.root, keep=1)
    store.publish("shapes", exports[0])
    sizes = []
    # Not forked: that would count memory which is the parent's.
    command = [sys.executable, "-c", SERVE, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            with Client(process.stdout.readline().strip()) as probe:
                for reload in range(100):
                    version = store.publish("shapes", exports[reload % 2])
                    wait_for(probe, version)
                    store.settle("shapes")
                    sizes.append(_resident_bytes(process.pid))
        finally:
            process.kill()
    assert sizes[99] <= 1.1 * sizes[9], f"{sizes[9] >> 20} MiB became {sizes[99] >> 20} MiB"


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_sigterm_under_load_leaves_no_request_without_an_answer(
    store: Store, classifiers: list[Path], forkserver: ForkServer
):
    store.publish("shapes", classifiers[0])
    with server_process(forkserver, store) as (address, process):
        callers = Callers(address, 32)
        callers.start()
        until(lambda: len(callers.seen) > 500)
        process.send_signal(signal.SIGTERM)
        until(lambda: process.poll() is not None)
        callers.stopping.set()
        callers.join()
    assert process.returncode == 0
    # Every request was answered, or told that the server takes no more.
    assert {type(error).__name__ for error in callers.failed} <= {"ServerUnavailable"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_client_needs_grpcio_protobuf_and_numpy_alone(server: Any, tmp_path: Path):
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    oldest = ["grpcio", "protobuf==6.31.1", "numpy"]  # of protobuf, the oldest that is promised
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *oldest,
    ]
    subprocess.run(install, check=True)
    code = (
        "import sys, numpy as np; from serving.client import Client\n"
        "with Client(sys.argv[1]) as client:\n"
        "    print(client.predict(np.ones((4, 4, 1), np.uint8), model='shapes', top=2)[0].label)"
    )
    run = [str(python), "-W", "error", "-c", code, server.grpc_address]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.stdout == "one\n", done.stderr


def test_a_load_is_measured(server: Any):
    request, rows = encode(np.zeros((3, 4, 4, 1), np.uint8), Target("shapes"), 2)
    assert rows == 2
    measured = measure(server.grpc_address, Load(request, rows, concurrency=4, seconds=0.3))
    summary = measured.summary()
    assert summary["failures"] == {}
    assert measured.rows_per_second == pytest.approx(2 * measured.requests_per_second)
    assert 0 < measured.percentile(50) <= measured.percentile(99)


def test_a_load_counts_its_failures(server: Any):
    request, rows = encode(np.zeros((1, 4, 4, 1), np.uint8), Target("nope"), 1)
    with pytest.raises(Exception, match=r"Latest\(nope\)"):
        measure(server.grpc_address, Load(request, rows, 1, 0.1))


def test_a_load_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1 caller"):
        Load(b"", 1, 0, 1.0)
    with pytest.raises(ValueError, match="at least one image"):
        encode([], Target("shapes"), 1)
