"""A model in service stays in service, whatever becomes of its base path.

TensorFlow Serving: file_system_storage_path_source.cc and AvailabilityPreservingPolicy.
"""

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from serving.model_settings import Policy
from serving.registry import Registry
from serving.version import Retries, State
from tests.support.shelf import Shelf, available, refusal, served


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_base_path_that_is_gone_for_a_moment_unloads_nothing(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
):
    shelf.add(1)
    registry = served(shelf)
    away = shelf.base.rename(shelf.base.with_name("away"))
    for _ in range(3):
        registry.refresh()
        assert registry.find("m").number == 1
    reason = f"Could not find base path {shelf.base} for servable m"
    assert registry.problems() == {"m": reason}
    assert registry.ready()
    assert [r.levelno for r in caplog.records if reason in r.message] == [logging.ERROR]
    away.rename(shelf.base)
    shelf.add(2)
    registry.refresh()
    assert registry.problems() == {}
    assert available(registry) == [2]


def test_a_base_path_that_cannot_be_read_unloads_nothing(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
):
    shelf.add(1)
    registry = served(shelf)

    def stale(path: object) -> None:
        raise OSError(116, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", stale)
        registry.refresh()
    assert available(registry) == [1]
    assert registry.problems()["m"].endswith("for servable m: Stale file handle")


def test_a_base_path_that_is_there_and_empty_unloads_and_says_so(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
):
    shelf.add(1)
    registry = served(shelf)
    shelf.remove(1)
    registry.refresh()
    assert refusal(registry, "m")[0] == "NOT_FOUND"
    assert "found under base path" in caplog.text
    assert "unloading [1]" in caplog.text


def test_a_specific_version_that_is_gone_unloads_the_last_one(shelf: Shelf):
    shelf.add(1)
    registry = served(shelf, Policy(specific=frozenset({1})))
    registry.configure([shelf.settings(Policy(specific=frozenset({9})))])
    assert available(registry) == []
    assert registry.models()[0].missing() == {"m/9": "no such directory"}


def test_while_one_base_path_is_missing_no_model_gets_new_versions(shelf: Shelf, tmp_path: Path):
    """As in PollFileSystemForConfig, which returns at the first one: leniency would hide it."""
    other = Shelf(tmp_path, "other")
    shelf.add(1)
    other.add(1)
    registry = Registry(shelf.load)
    both = [shelf.settings(), other.settings()]
    registry.configure(both)
    away = other.base.rename(tmp_path / "away")
    shelf.add(2)
    registry.refresh()
    assert available(registry, "m") == available(registry, "other") == [1]
    registry.configure([both[0]])  # the model first off the configuration, then its directory
    assert available(registry, "m") == [2]
    away.rename(other.base)
    registry.configure(both)
    assert available(registry, "other") == [1]


def test_a_server_that_starts_without_one_of_its_base_paths_serves_none(
    shelf: Shelf, tmp_path: Path
):
    shelf.add(1)
    registry = Registry(shelf.load)
    gone = replace(shelf.settings(), name="other", base_path=tmp_path / "gone")
    registry.configure([shelf.settings(), gone])
    assert refusal(registry, "m")[0] == "NOT_FOUND"
    reason = f"Could not find base path {tmp_path / 'gone'} for servable other"
    assert [model.missing() for model in registry.models()] == [{"m": reason}, {"other": reason}]
    (tmp_path / "gone").mkdir()
    registry.refresh()
    assert available(registry) == [1]


def test_a_load_that_fails_in_one_model_does_not_stop_the_others(shelf: Shelf, tmp_path: Path):
    other = Shelf(tmp_path, "other")
    shelf.add(1, broken=True)
    other.add(1)
    registry = Registry(shelf.load, Retries(count=0))
    registry.configure([shelf.settings(), other.settings()])
    other.add(2)
    registry.refresh()
    assert available(registry, "other") == [2]


def test_a_new_base_path_whose_versions_do_not_load_keeps_the_old_version(
    shelf: Shelf, tmp_path: Path
):
    shelf.add(1)
    registry = served(shelf)
    moved = Shelf(tmp_path / "moved")
    moved.add(2, broken=True)
    registry.configure([moved.settings()])
    assert registry.find("m").directory == shelf.base / "1"
    assert registry.models()[0].missing() == {"m/2": "ValueError: a broken file"}
    (moved.base / "2" / "broken").rename(moved.base / "2" / "fine")
    moved.add(3)
    registry.refresh()
    assert registry.find("m").directory == moved.base / "3"


def test_a_new_base_path_that_is_not_there_keeps_the_old_version(shelf: Shelf, tmp_path: Path):
    shelf.add(1)
    registry = served(shelf)
    registry.configure([replace(shelf.settings(), base_path=tmp_path / "nowhere")])
    assert available(registry) == [1]
    assert "nowhere" in registry.problems()["m"]


def test_a_version_in_service_stays_although_another_base_path_has_its_number(
    shelf: Shelf, tmp_path: Path
):
    """TensorFlow Serving tells versions by their numbers: an id that it has is not loaded again."""
    shelf.add(1)
    registry = served(shelf)
    moved = Shelf(tmp_path / "moved")
    moved.add(1)
    registry.configure([moved.settings()])
    assert registry.find("m").directory == shelf.base / "1"
    registry.configure([])
    registry.configure([moved.settings()])
    assert registry.find("m").directory == moved.base / "1"


def test_a_model_off_the_configuration_is_remembered_as_ended(shelf: Shelf):
    shelf.add(1)
    registry = served(shelf)
    registry.configure([])
    assert [version.state for version in registry.versions("m")] == [State.END]
    assert registry.models() == []


def test_the_name_of_a_version_directory_is_remembered(shelf: Shelf):
    directory = shelf.base / "00000123"
    directory.mkdir()
    registry = served(shelf)
    assert registry.find("m", 123).directory == directory


@pytest.mark.parametrize(
    "name", ["20260101000000000000", "9223372036854775808", "٣", "+5", " 7", "1.5", "-3", "1e3"]
)
def test_a_directory_whose_name_is_no_int64_is_no_version(shelf: Shelf, name: str):
    shelf.add(1)
    (shelf.base / name).mkdir()
    registry = served(shelf, Policy(latest=None))
    assert available(registry) == [1]


def test_the_largest_int64_is_a_version(shelf: Shelf):
    shelf.add(2**63 - 1)
    assert available(served(shelf)) == [2**63 - 1]
