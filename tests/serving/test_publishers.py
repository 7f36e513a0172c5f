"""Publishers that meet each other, and publishers that are killed."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.store import Store
from tests.support.forkserver import ForkServer
from tests.support.publishing import put_in_service

Shell = Callable[..., Path]


def test_two_publishers_at_once_both_get_their_version(store: Store, shell: Shell):
    sources = [shell(content=str(n), name=f"export{n}") for n in range(8)]
    got: list[int] = []
    threads = [
        threading.Thread(target=lambda source=source: got.append(store.publish("digits", source)))
        for source in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == len(sources)
    store.settle("digits")
    assert store.live("digits") == max(got)
    for version in store.versions("digits"):
        store.verify("digits", version)


PUBLISH_FOR_EVER = """
import sys
from serving.store import Store
store = Store(sys.argv[1], keep=3)
print("ready", flush=True)
while True:
    store.publish("digits", sys.argv[2])
    store.settle("digits")
"""


def _kill_in_mid_publish(forkserver: ForkServer, store: Store, source: Path, delay: float) -> None:
    publish = ("-c", PUBLISH_FOR_EVER, str(store.root), str(source))
    with forkserver.start(*publish) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)  # no condition to wait for: the instant of death is what is varied
        process.kill()
        assert process.wait() == -signal.SIGKILL


def _litter(store: Store) -> list[str]:
    known = {"models.config", "digits", ".lock", "history.jsonl"}
    inside = [path.name for path in store.root.iterdir()]
    inside += [path.name for path in (store.root / "digits").iterdir()]
    return [name for name in inside if name not in known and not name.isdecimal()]


def _check_after_kill(store: Store, source: Path) -> None:
    for version in store.versions("digits"):
        store.verify("digits", version)
    assert set(store.served("digits")) <= set(store.versions("digits"))
    newest = put_in_service(store, "digits", source)
    assert store.live("digits") == newest
    assert _litter(store) == []
    assert all(json.dumps(event) for event in store.history("digits"))


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_publisher_killed_at_any_instant_leaves_no_partial_version(
    store: Store, shell: Shell, forkserver: ForkServer, kills: int
):
    source = shell(weights=os.urandom(2_000_000))
    for kill in range(kills):
        _kill_in_mid_publish(forkserver, store, source, delay=0.001 + 0.0007 * (kill % 100))
        _check_after_kill(store, source)


def test_a_publish_killed_before_its_history_line_can_still_be_rolled_back(
    store: Store, shell: Shell
):
    first, second = (put_in_service(store, "digits", shell()) for _ in range(2))
    path = store.root / "digits" / "history.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert store.live("digits") == second
    assert store.rollback("digits") == first


def test_a_deletion_that_was_killed_before_it_was_told_is_told_by_the_next(
    store: Store, shell: Shell
):
    store = Store(store.root, keep=1)
    versions = [store.publish("digits", shell(), label=None) for _ in range(2)]
    shutil.rmtree(store.path("digits", versions[1]))  # as a process killed half-way leaves it
    versions += [store.publish("digits", shell(), label=None) for _ in range(2)]
    deleted = [event for event in store.history("digits") if event["event"] == "delete"]
    assert [event["version"] for event in deleted] == versions[:3]
