"""What the store writes is taken by TensorFlow Serving, poll by poll, in the order of its sources.

The server is a simulation of 2.20.0's ReloadConfig, which checks labels before it loads anything.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from serving.errors import StoreError
from serving.store import Store
from tests.support.crash import Crash, dying
from tests.support.fleet import Fleet
from tests.support.publishing import put_in_service
from tests.support.reload_config import Production

Shell = Callable[..., Path]
Step = Callable[[Store], object]


@pytest.fixture
def export(shell: Shell) -> Path:
    return shell()


@pytest.fixture
def store(store: Store, export: Path) -> Store:
    """Two models in one file; of digits there are two versions and a canary, so all can move."""
    put_in_service(store, "digits", export)
    put_in_service(store, "iris", export)
    put_in_service(store, "digits", export)
    put_in_service(store, "digits", export, "canary")
    return store


@pytest.fixture
def server(store: Store) -> Production:
    server = Production(store.root)
    server.poll()
    assert_follows(server, store)
    return server


def assert_follows(server: Production, store: Store) -> None:
    for name in store.names():
        labels = store.labels(name)
        assert {label: server.answers(name, label) for label in labels} == labels
        assert server.refusal == ""


def stable(store: Store) -> int:
    version = store.live("digits")
    assert version is not None
    return version


def changes(export: Path) -> dict[str, list[Step]]:
    """Everything that moves a label, as the writes it takes; a reader polls after each."""
    publish: list[Step] = [
        lambda store: store.publish("digits", export),
        lambda store: store.settle("digits"),
    ]
    return {
        "publish": publish,
        "publish a canary": [
            lambda store: store.publish("digits", export, "canary"),
            lambda store: store.settle("digits"),
        ],
        "publish a new model": [lambda store: store.publish("pets", export)],
        "promote": [lambda store: store.promote("digits")],
        "rollback": [lambda store: store.rollback("digits")],
        "label": [
            lambda store: store.set_label("digits", "blue", store.versions("digits")[0]),
            lambda store: store.settle("digits"),
            lambda store: store.remove_label("digits", "blue"),
        ],
        "withdraw": [lambda store: store.withdraw("digits", stable(store), "wrong answers")],
        "publish and withdraw": [
            publish[0],
            lambda store: store.withdraw("digits", store.versions("digits")[-1], "wrong answers"),
        ],
    }


NAMES = [
    "publish", "publish a canary", "publish a new model", "promote", "rollback", "label",
    "withdraw", "publish and withdraw",
]  # fmt: skip


@pytest.mark.parametrize("change", NAMES)
def test_a_server_that_polls_follows_every_write(
    store: Store, export: Path, server: Production, change: str
):
    for step in changes(export)[change]:
        before = server.answers("digits", "stable")
        step(store)
        server.poll()
        assert_follows(server, store)
        assert server.answers("digits", "stable") in (before, store.live("digits"))
        assert server.answers("iris", "stable") == store.live("iris")


def test_the_simulated_server_refuses_what_production_refuses(store: Store, server: Production):
    """What this store once wrote: a version and the label on it, in one file."""
    path = store.root / "models.config"
    live, new = stable(store), stable(store) + 5
    (store.root / "digits" / str(new)).mkdir()
    path.write_text(path.read_text().replace(f": {live}\n", f": {new}\n"))
    for _ in range(3):
        server.poll()
        assert f"Request to assign label to version {new} of model digits" in server.refusal
        assert server.answers("digits", "stable") == live


@pytest.mark.parametrize("named", [True, False], ids=["servers named", "by time"])
@pytest.mark.parametrize("change", NAMES)
def test_a_server_that_missed_any_one_write_is_brought_there_by_repair(
    store: Store, export: Path, change: str, named: bool
):
    steps = changes(export)[change]
    for missed in range(len(steps)):
        place = store.root.with_name(f"missed-{missed}")
        shutil.copytree(store.root, place)
        copy, late, prompt = Store(place), Production(place), Production(place)
        late.poll()
        for number, step in enumerate(steps):
            step(copy)
            prompt.poll()
            if number != missed:
                late.poll()
        labels = copy.labels("digits")
        for _ in range(2):
            late.poll()
        if late.refusal:
            copy.repair(Fleet([late, prompt], named))
            late.poll()
            prompt.poll()
        assert copy.labels("digits") == labels
        assert_follows(late, copy)
        assert_follows(prompt, copy)


def test_a_server_that_missed_the_first_write_is_known_by_its_refusal(
    store: Store, export: Path, server: Production
):
    old = stable(store)
    new = put_in_service(store, "digits", export)
    for _ in range(5):
        server.poll()
    assert f"version {new} of model digits" in server.refusal
    assert server.answers("digits", "stable") == old
    store.publish("iris", export)  # and nothing else reaches it either
    server.poll()
    assert store.pending("iris")["stable"] not in server.available["iris"]


@pytest.mark.parametrize("way", ["servers named", "unlabel"])
def test_a_server_that_missed_more_takes_a_file_without_labels(
    store: Store, export: Path, server: Production, way: str
):
    prompt = Production(store.root)
    for _ in range(3):
        store.publish("digits", export)
        prompt.poll()
        store.settle("digits")
        prompt.poll()
    repaired = store.repair(Fleet([server, prompt], way == "servers named"), way == "unlabel")
    for _ in range(2):
        server.poll()
        prompt.poll()
    assert_follows(server, store)
    assert_follows(prompt, store)
    assert repaired.lacks == []
    assert store.pending("digits") == {}


def test_a_version_that_never_loads_stops_nobody_while_its_label_has_not_moved(
    store: Store, export: Path, server: Production
):
    old, bad = stable(store), store.publish("digits", export)
    server.broken.add(bad)
    server.poll()
    assert (server.answers("digits", "stable"), server.refusal) == (old, "")
    store.publish("iris", export)
    server.poll()
    store.settle("iris")
    store.withdraw("digits", bad, "it does not load")  # as a run does whose probe fails
    server.poll()
    assert_follows(server, store)
    assert stable(store) == old


def test_a_label_moved_by_a_timer_to_a_version_that_never_loads_stops_all_models_until_withdrawn(
    store: Store, export: Path, server: Production
):
    old, bad = stable(store), store.publish("digits", export)
    server.broken.add(bad)
    server.poll()
    store.settle("digits")
    iris = store.publish("iris", export)
    server.poll()
    assert f"version {bad} of model digits" in server.refusal
    assert iris not in server.available["iris"]
    store.withdraw("digits", bad, "it does not load")
    server.poll()
    store.settle("iris")
    server.poll()
    assert (server.answers("digits", "stable"), server.answers("iris", "stable")) == (old, iris)


def test_repair_leaves_a_label_back_where_servers_cannot_load_the_version(
    store: Store, export: Path, server: Production
):
    old, bad = stable(store), store.publish("digits", export)
    server.broken.add(bad)
    (lack,) = store.repair(Fleet([server])).lacks
    assert (lack.version, lack.heard) == (bad, True)
    assert (stable(store), store.pending("digits")) == (old, {"stable": bad})
    server.broken.clear()
    assert store.repair(Fleet([server])).moved == {"digits": {"stable": bad}}
    server.poll()
    assert_follows(server, store)


@pytest.mark.parametrize("finish", ["publish", "repair"])
@pytest.mark.parametrize("change", NAMES)
def test_a_crash_at_any_step_is_finished_by_the_next_publish_or_by_repair(
    store: Store, export: Path, change: str, finish: str
):
    steps, at, dead = changes(export)[change], 0, True
    while dead:
        at += 1
        place = store.root.with_name(f"crash-{at}")
        shutil.copytree(store.root, place)
        copy, server = Store(place), Production(place)
        server.poll()
        dead = False
        try:
            with dying(place, at):
                for step in steps:
                    step(copy)
                    server.poll()
        except Crash:
            dead = True
        server.poll()
        if finish == "publish":
            new = copy.publish("digits", export)
            server.poll()
            copy.settle("digits")
            assert copy.live("digits") == new
        else:
            copy.repair(Fleet([server]))
        for _ in range(2):
            server.poll()
        assert_follows(server, copy)
        assert copy.pending("digits") == {}
        shutil.rmtree(place)
    assert at > len(steps)  # there were steps to die at


@pytest.mark.parametrize("text", [None, "", "\n"], ids=["missing", "empty", "blank"])
def test_a_lost_configuration_is_an_error_and_rebuilt_by_repair(
    store: Store, export: Path, server: Production, text: str | None
):
    before = (store.root / "models.config").read_text()
    waiting = store.publish("digits", export)
    server.poll()
    (store.root / "models.config").unlink()
    if text is not None:
        (store.root / "models.config").write_text(text)
    for act in (
        lambda: store.publish("iris", export),
        lambda: store.live("digits"),
        lambda: store.rollback("digits"),
        store.create,
    ):
        with pytest.raises(StoreError, match="convoy models repair --store"):
            act()
    server.poll()
    assert server.answers("digits", "stable") is not None  # it keeps what it has
    repaired = store.repair(Fleet([server]))
    assert repaired.rebuilt
    assert repaired.moved == {"digits": {"stable": waiting}}
    store.withdraw("digits", waiting, "to compare with what was lost")
    assert (store.root / "models.config").read_text() == before


def test_a_missing_base_path_stops_all_models_and_is_taken_out_by_repair(
    store: Store, export: Path, server: Production, caplog: pytest.LogCaptureFixture
):
    shutil.rmtree(store.root / "digits")
    old, new = store.live("iris"), store.publish("iris", export)
    assert "digits is missing: until it is back" in caplog.text
    server.poll()
    assert server.answers("iris") == old
    assert store.repair(Fleet([server])).removed == ["digits"]
    for _ in range(2):
        server.poll()
    assert server.answers("iris", "stable") == store.live("iris") == new
    assert server.answers("digits") is None


def test_an_empty_base_path_unloads_and_stops_nobody_else(
    store: Store, export: Path, server: Production
):
    for version in store.versions("digits"):
        shutil.rmtree(store.path("digits", version))
    new = store.publish("iris", export)
    server.poll()
    assert server.answers("digits") is None
    assert new in server.available["iris"]
    store.repair(Fleet([server]))
    server.poll()
    assert server.answers("iris", "stable") == new


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["publish", "canary", "settle", "promote", "rollback", "label", "withdraw"]
        ),
        st.sampled_from(["digits", "iris"]),
        st.booleans(),  # whether the server polls after it
    ),
    max_size=12,
)


def operate(store: Store, export: Path, operation: str, name: str) -> None:
    versions = store.versions(name)
    acts: dict[str, Callable[[], object]] = {
        "publish": lambda: store.publish(name, export),
        "canary": lambda: store.publish(name, export, "canary"),
        "settle": lambda: store.settle(name),
        "promote": lambda: store.promote(name),
        "rollback": lambda: store.rollback(name),
        "label": lambda: store.set_label(name, "blue", versions[0]),
        "withdraw": lambda: store.withdraw(name, versions[-1], "by chance"),
    }
    try:
        acts[operation]()
    except (StoreError, IndexError):
        return  # nothing to promote, roll back or label


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_a_server_that_polls_between_writes_refuses_none_of_them(
    tmp_path_factory: pytest.TempPathFactory, export: Path, operations: list[tuple[str, str, bool]]
):
    store = Store(tmp_path_factory.mktemp("walk") / "models", keep=3)
    store.create()
    server = Production(store.root)
    for operation, name, _ in operations:
        operate(store, export, operation, name)
        server.poll()
        assert_follows(server, store)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
@example(  # what is stable was never heard of, and is not where the label goes next
    [
        ("publish", "digits", True),
        ("publish", "digits", False),
        ("settle", "digits", False),
        ("publish", "digits", False),
    ]
)
def test_whatever_was_done_and_missed_repair_brings_the_server_there(
    tmp_path_factory: pytest.TempPathFactory, export: Path, operations: list[tuple[str, str, bool]]
):
    store = Store(tmp_path_factory.mktemp("walk") / "models", keep=3)
    store.create()
    server = Production(store.root)
    for operation, name, polls in operations:
        operate(store, export, operation, name)
        if polls:
            server.poll()
    wanted = {name: store.labels(name) | store.pending(name) for name in store.names()}
    repaired = store.repair(Fleet([server]))
    server.poll()
    assert repaired.lacks == []
    assert {name: store.labels(name) for name in store.names()} == wanted
    assert_follows(server, store)
    (store.root / "models.config").unlink()  # and the histories hold all of it
    store.repair(Fleet([server]))
    assert {name: store.labels(name) for name in store.names()} == wanted
