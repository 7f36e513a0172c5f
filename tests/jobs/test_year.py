"""A year of scheduled retraining: the data grow and break, a server fails, runs are killed.

Throughout, a server of the store answers a caller, and what is live never gets worse.
"""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.client import Client, Options
from serving.errors import ServingError
from serving.server import ModelServer
from serving.settings import Listen, of_store
from serving.store import Store
from tests.support.inbox import Inbox
from tests.support.workplace import Workplace

JOB = """
name = "digits"
[data]
source = "folder:inbox"
data_dir = "data"
image_size = [16, 16]
channels = 1
[model]
name = "lenet5"
options = { activation = "relu" }
[train]
epochs = EPOCHS
batch_size = 32
learning_rate = 3e-3
[bless]
min_accuracy = 0.7
significance = 0.02
max_class_fall = 0.5  # 27 test images a class: a few of them are chance
[publish]
keep = 2
[runs]
keep = 3
keep_data = 2
"""


NOBODY = "127.0.0.1:1"  # a server of the fleet that is down


KILLED = ("data", "train", "export", "verify", "publish", "probe", "report")


SHORT = ("grow", "break", "grow", "shuffle", "lose a server", "kill")


LONG = (
    "grow", "grow", "break", "idle", "shuffle", "grow", "lose a server", "grow", "kill", "idle",
    "grow", "grow",
)  # fmt: skip


@dataclass
class Caller:
    """A client app that asks the live model all year."""

    address: str
    image: Path
    answers: int = 0
    failures: list[str] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Caller":
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _call(self) -> None:
        with Client(self.address, Options(timeout=60)) as client:
            while not self._end.wait(0.02):
                try:
                    client.predict([self.image], model="digits", label="stable")
                    self.answers += 1
                except ServingError as problem:
                    self.failures.append(str(problem))


@dataclass
class Year:
    """The place of work, and what is expected of the store's history."""

    workplace: Workplace
    address: str
    inbox: Inbox
    growth: int
    events: list[str] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    @property
    def place(self) -> Path:
        return self.workplace.path

    @property
    def store(self) -> Store:
        return Store(self.place / "models")

    def run(self, *settings: str, code: int) -> dict[str, Any]:
        done = self.workplace("run", "job.toml", "--json", *self._probing(), *settings)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if done.stdout else {}

    def grow(self) -> None:
        self.inbox.grow(self.growth)
        before = self.store.live("digits")
        outcome = self.run(code=0)
        assert outcome["status"] == "published"
        assert self.store.live("digits") == outcome["version"] != before
        self.events.append("publish")

    def idle(self) -> None:
        assert self.run(code=0)["status"] == "unchanged"

    def break_(self) -> None:
        self.inbox.break_files()
        self.nothing_moves(lambda: self.run(code=4))
        self.inbox.repair()

    def shuffle(self) -> None:
        self.inbox.shuffle()
        outcome = self.nothing_moves(lambda: self.run(code=3))
        assert any(reason.startswith("mcnemar_p") for reason in outcome["reasons"])
        self.inbox.repair()

    def lose_a_server(self) -> None:
        self.inbox.grow(self.growth)
        failing = ("--set", f'publish.probe=["{self.address}", "{NOBODY}"]')
        patience = ("--set", "publish.probe_seconds=3")
        outcome = self.nothing_moves(lambda: self.run(*failing, *patience, code=1))
        assert outcome["status"] == "rolled_back"
        assert any(NOBODY in reason for reason in outcome["reasons"])  # a slow one may be first
        self.events += ["publish", "withdraw"]

    def kill(self) -> None:
        self.inbox.grow(self.growth)
        for stage in KILLED:
            command = ("run", "job.toml", "--json", *self._probing())
            assert self.workplace.killed(stage, 0.01, *command) == -9, stage
        outcome = self.run(code=0)
        assert self.store.live("digits") == outcome["version"]
        self.events.append("publish")

    def nothing_moves(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        before = self.store.labels("digits")
        outcome = act()
        assert self.store.labels("digits") == before
        return outcome

    def measure(self) -> None:
        """Ask the server about the images that are never trained on."""
        paths, labels = self.inbox.test_files()
        with Client(self.address, Options(timeout=60)) as client:
            answers = client.predict(paths, model="digits", label="stable")
        hits = [answer.label == label for answer, label in zip(answers, labels, strict=True)]
        self.accuracies.append(float(np.mean(hits)))

    def _probing(self) -> tuple[str, ...]:
        return ("--set", f'publish.probe=["{self.address}"]')


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    store = Store(tmp_path / "models")
    store.create()
    with ModelServer(of_store(store.root, Listen(port=0, rest_port=0))) as server:
        yield server.grpc_address


def live_through(year: Year, months: tuple[str, ...]) -> Caller:
    acts = {"break": year.break_, "lose a server": year.lose_a_server}
    first, *others = months
    getattr(year, first)()
    image = year.inbox.test_files()[0][0]
    with Caller(year.address, image) as caller:
        for month in others:
            year.measure()
            (acts.get(month) or getattr(year, month))()
        year.measure()
    return caller


def begin_year(workplace: Workplace, address: str, epochs: int, growth: int) -> Year:
    (workplace.path / "job.toml").write_text(JOB.replace("EPOCHS", str(epochs)))
    inbox = Inbox(workplace.path / "inbox")
    inbox.grow(400)
    return Year(workplace, address, inbox, growth)


def assert_all_is_well(year: Year, caller: Caller) -> None:
    assert caller.failures == []
    assert caller.answers > 100
    for before, after in zip(year.accuracies, year.accuracies[1:], strict=False):
        assert after >= before - 0.02, year.accuracies  # 5 of 270: what chance moves
    history = year.store.history("digits")
    told = [e["event"] for e in history if e["event"] not in ("delete", "settle")]
    assert told == year.events
    versions = {event["version"] for event in history if event["event"] == "publish"}
    deleted = {event["version"] for event in history if event["event"] == "delete"}
    present = set(year.store.versions("digits"))
    assert present == versions - deleted
    assert set(sorted(versions)[-2:]) | set(year.store.served("digits")) == present
    assert year.store.live("digits") == max(versions - withdrawn(history))
    whole = [path.parent for path in year.place.glob("runs/digits/*/model.keras")]
    assert len(whole) <= 3
    prepared = list(year.place.glob("data/folder/*/*/dataset_info.json"))
    assert len(prepared) <= 2 + len(year.store.served("digits")) < len(year.events) + 2


def withdrawn(history: list[dict[str, Any]]) -> set[int]:
    return {event["version"] for event in history if event["event"] == "withdraw"}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_half_a_year_of_retraining(workplace, address):
    year = begin_year(workplace, address, epochs=10, growth=250)
    assert_all_is_well(year, live_through(year, SHORT))


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_year_of_retraining(workplace, address):
    year = begin_year(workplace, address, epochs=16, growth=110)
    assert_all_is_well(year, live_through(year, LONG))
