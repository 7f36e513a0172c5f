"""Housekeeping never fails a publish, permissions are only added, and odd names are no versions."""

import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import layout
from serving.errors import StoreError
from serving.store import Store
from tests.support.crash import dying, refusing
from tests.support.publishing import put_in_service

Shell = Callable[..., Path]


@pytest.fixture
def export(shell: Shell) -> Path:
    return shell()


@pytest.fixture
def store(store: Store) -> Store:
    return Store(store.root, keep=1)


@pytest.fixture
def group_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


def trash(store: Store) -> list[str]:
    return sorted(p.name for p in (store.root / "digits").iterdir() if p.name.startswith(".trash"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_cannot_be_deleted_is_left_said_once_and_tried_again(
    store: Store, export: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    first = put_in_service(store, "digits", export)
    with refusing("os.remove", "variables.index"):
        for _ in range(4):
            newest = put_in_service(store, "digits", export)
    assert store.live("digits") == newest
    assert first not in store.versions("digits")
    assert trash(store)[0] == f".trash-{first}"
    told = [r.getMessage() for r in caplog.records if f".trash-{first}:" in r.getMessage()]
    assert len(told) == 1
    assert "every publish tries again" in told[0]
    put_in_service(store, "digits", export)
    assert trash(store) == []


def test_a_version_that_cannot_be_moved_stays_and_is_tried_again(store: Store, export: Path):
    first = put_in_service(store, "digits", export)
    with refusing("os.rename", str(first)):
        for _ in range(3):
            put_in_service(store, "digits", export)
        assert first in store.versions("digits")
    put_in_service(store, "digits", export)
    assert first not in store.versions("digits")
    deleted = [e["version"] for e in store.history("digits") if e["event"] == "delete"]
    assert deleted.count(first) == 1


def test_leftovers_under_the_name_that_a_deletion_takes_are_not_in_the_way(
    store: Store, export: Path
):
    first = put_in_service(store, "digits", export)
    left = store.root / "digits" / f".trash-{first}"
    left.mkdir()
    (left / "held").touch()
    with refusing("os.remove", "held"):
        for _ in range(3):
            put_in_service(store, "digits", export)
    assert first not in store.versions("digits")
    assert trash(store) == [f".trash-{first}"]


def test_a_link_is_followed_when_read_and_unlinked_when_retired(
    store: Store, export: Path, tmp_path: Path
):
    put_in_service(store, "digits", export)
    elsewhere = shutil.copytree(export, tmp_path / "elsewhere")
    (store.root / "digits" / "123").symlink_to(elsewhere)
    store.verify("digits", 123)
    for _ in range(3):
        put_in_service(store, "digits", export)
    assert 123 not in store.versions("digits")
    assert (elsewhere / "saved_model.pb").exists()


def test_a_directory_with_leading_zeros_is_remembered_by_its_own_name(store: Store, export: Path):
    put_in_service(store, "digits", export)
    shutil.copytree(export, store.root / "digits" / "00000123")
    assert store.path("digits", 123).name == "00000123"
    store.verify("digits", 123)
    store.set_label("digits", "old", 123)
    store.settle("digits")
    for _ in range(3):
        put_in_service(store, "digits", export)
    assert 123 in store.versions("digits")  # it has a label
    store.remove_label("digits", "old")
    assert 123 in store.retire("digits")
    assert not (store.root / "digits" / "00000123").exists()


@pytest.mark.parametrize(
    "name",
    ["+5", " 7", "-3", "20260101000000000000", "٣", "²", "1.5", "1e3", "2-copy", "", "9" * 5000],
)
def test_only_plain_decimal_numbers_of_int64_are_versions(name: str):
    assert layout.number(name) is None


@pytest.mark.parametrize(
    ("name", "version"),
    [("0", 0), ("7", 7), ("00000123", 123), (str(2**63 - 1), 2**63 - 1), ("0" * 90 + "5", 5)],
)
def test_a_version_is_its_number(name: str, version: int):
    assert layout.number(name) == version
    assert layout.number(str(2**63)) is None


@pytest.mark.parametrize("name", ["+5", " 7", "-3", "\t8 ", "0007"])
def test_nothing_is_published_beside_a_name_that_tensorflow_serving_takes_for_a_version(
    store: Store, export: Path, name: str
):
    live = put_in_service(store, "digits", export)
    (store.root / "digits" / "7").mkdir()
    (store.root / "digits" / name).mkdir()
    with pytest.raises(StoreError, match="takes for versions that this store does not know"):
        store.publish("digits", export)
    assert store.strays("digits") == [name]
    assert store.live("digits") == live


def test_nothing_is_published_beside_a_file_that_a_number_names(store: Store, export: Path):
    put_in_service(store, "digits", export)
    (store.root / "digits" / "77").touch()
    with pytest.raises(StoreError, match="holds '77', which TensorFlow Serving takes for versions"):
        store.publish("digits", export)


@pytest.mark.parametrize("name", ["20260101000000000000", "٣", "tmp", ".stage"])
def test_names_that_no_server_takes_for_a_version_are_in_nobody_s_way(
    store: Store, export: Path, name: str
):
    put_in_service(store, "digits", export)
    (store.root / "digits" / name).mkdir()
    assert put_in_service(store, "digits", export) == store.versions("digits")[-1]


def test_a_number_that_somebody_made_up_is_no_reason_to_stop_or_to_delete(
    store: Store, export: Path
):
    first = put_in_service(store, "digits", export)
    for number in (2**63 - 1, 10**15):
        (store.root / "digits" / str(number)).mkdir()
    second = put_in_service(store, "digits", export)
    assert first < second < 10**12
    assert store.retire("digits", keep=2) == []  # they take the place of none of ours
    assert store.versions("digits") == [first, second, 10**15, 2**63 - 1]
    assert store.live("digits") == second


BROKEN = (
    b"[" * 100_000,
    b'{"event": 7, "version": 1}',
    b'{"version": 1}',
    b'{"event": "publish"}',
    b'{"event": "publish", "version": "x", "label": "stable"}',
    b'{"event": "publish", "version": -1, "label": "stable"}',
    b'{"event": "publish", "version": 99999999999999999999, "label": "stable"}',
    b'{"event": "publish", "version": true, "label": ["stable"]}',
    b'{"event": "promote", "version": 9223372036854775807, "label": "stable"}',
    b"\xff\xfe\0",
)


@pytest.mark.parametrize("line", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_line_of_a_history_breaks_no_publish(store: Store, export: Path, line: bytes):
    first = put_in_service(store, "digits", export)
    with (store.root / "digits" / "history.jsonl").open("ab") as file:
        file.write(line + b"\n")
    second = put_in_service(store, "digits", export)
    assert (store.live("digits"), store.rollback("digits")) == (second, first)


def test_a_store_of_a_group_stays_one(store: Store, export: Path, group_umask: None):
    (store.root / "digits").mkdir(parents=True)
    for path in (store.root, store.root / "digits"):
        path.chmod(0o2775)
    version = put_in_service(store, "digits", export)
    assert (mode(store.root), mode(store.root / "digits")) == (0o2775, 0o2775)
    for path in store.root.rglob("*"):
        assert mode(path) & 0o020, path  # whoever retires it must be able to
    put_in_service(store, "digits", export)
    assert mode(store.path("digits", version)) & 0o777 == 0o775


def test_permissions_are_only_added_and_never_asked_for_in_vain(store: Store, export: Path):
    put_in_service(store, "digits", export)
    store.root.chmod(0o777)
    with refusing("os.chmod", "models"), refusing("os.chmod", "digits"):
        put_in_service(store, "digits", export)
    assert mode(store.root) == 0o777
    store.root.chmod(0o700)
    store.create()
    assert mode(store.root) == 0o755


def test_who_does_not_own_the_store_may_still_publish(store: Store, export: Path):
    put_in_service(store, "digits", export)
    store.root.chmod(0o750)  # a server of another group could not read it: its owner's affair
    with refusing("os.chmod", "models"):
        live = put_in_service(store, "digits", export)
    assert store.live("digits") == live


def test_serving_a_store_changes_nothing_in_it(store: Store, export: Path):
    put_in_service(store, "digits", export)
    with dying(store.root, 1):
        store.create()  # what convoy serve does first
        assert store.live("digits") in store.versions("digits")
