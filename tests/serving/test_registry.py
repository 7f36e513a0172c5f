"""Which versions are loaded, which one a request means, and how one takes over from another."""

import logging
import threading
from pathlib import Path

import pytest

from serving.model_settings import Policy
from serving.registry import Registry
from serving.version import Retries, State
from tests.support.shelf import Memory, Shelf, available, refusal, served


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), [3]),
        (Policy(latest=2), [3, 2]),
        (Policy(latest=None), [3, 2, 1]),
        (Policy(specific=frozenset({1, 3, 9})), [3, 1]),
    ],
)
def test_a_policy_chooses_among_the_versions_present(
    shelf: Shelf, policy: Policy, expected: list[int]
):
    shelf.add(1, 2, 3)
    (shelf.base / "notes").mkdir()  # no integer: no version
    (shelf.base / "4").touch()  # no directory
    assert available(served(shelf, policy)) == expected


def test_the_highest_version_answers_by_default(shelf: Shelf):
    shelf.add(9, 10)
    registry = served(shelf, Policy(latest=2))
    assert registry.find("m").number == 10
    assert registry.find("m", 9).number == 9


def test_a_new_version_is_loaded_before_the_old_one_goes(shelf: Shelf):
    shelf.add(1)
    registry = served(shelf)
    shelf.add(2)
    registry.refresh()
    assert registry.find("m").number == 2
    assert available(registry) == [2]
    assert shelf.servables[1].closed


def test_a_version_stays_in_memory_until_its_last_request_is_over(shelf: Shelf):
    shelf.add(1)
    registry = served(shelf)
    with registry.use("m") as (version, _):
        shelf.add(2)
        registry.refresh()
        assert version.state is State.UNLOADING
        assert not shelf.servables[1].closed
        assert registry.find("m").number == 2
    assert shelf.servables[1].closed
    assert version.state is State.END


def test_a_request_that_finds_a_version_going_gets_the_one_that_took_over(shelf: Shelf):
    shelf.add(1)
    registry = served(shelf)
    swapping = threading.Event()
    failed: list[Exception] = []

    def ask() -> None:
        while not swapping.is_set():
            try:
                with registry.use("m") as (_, servable):
                    assert isinstance(servable, Memory)
                    assert not servable.closed
            except Exception as error:
                failed.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for number in range(2, 60):
        shelf.add(number)
        registry.refresh()
    swapping.set()
    for asker in askers:
        asker.join()
    assert failed == []


def test_a_broken_version_is_reported_once_and_never_served(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
):
    shelf.add(1)
    registry = Registry(shelf.load, Retries(count=2, seconds=0))
    registry.configure([shelf.settings()])
    shelf.add(2, broken=True)
    for _ in range(5):
        registry.refresh()
    assert registry.find("m").number == 1
    assert shelf.loaded == [1, 2, 2, 2]  # the first try and two more
    assert [r.levelno for r in caplog.records if "cannot load" in r.message] == [logging.ERROR]
    newest = registry.versions("m", 2)[0]
    assert (newest.state, newest.error) == (State.END, "ValueError: a broken file")
    assert not registry.ready()


def test_a_failed_load_waits_before_it_is_tried_again(shelf: Shelf):
    shelf.add(1, broken=True)
    registry = Registry(shelf.load, Retries(count=5, seconds=60))
    registry.configure([shelf.settings()])
    registry.refresh()
    assert shelf.loaded == [1]
    assert registry.versions("m")[0].state is State.LOADING


def test_a_version_that_was_given_up_is_tried_again_once_it_was_away(shelf: Shelf):
    """TensorFlow Serving ignores a version that it has, failed or not (AspiredVersionsManager)."""
    shelf.add(1, broken=True)
    registry = Registry(shelf.load, Retries(count=0))
    registry.configure([shelf.settings()])
    (shelf.base / "1" / "broken").rename(shelf.base / "1" / "fine")
    for _ in range(3):
        registry.refresh()
    assert shelf.loaded == [1]
    away = (shelf.base / "1").rename(shelf.base / "away")
    registry.refresh()
    away.rename(shelf.base / "1")
    registry.refresh()
    assert registry.find("m").number == 1


def test_a_version_that_left_the_disk_is_unloaded_and_remembered(shelf: Shelf):
    shelf.add(1, 2)
    registry = served(shelf, Policy(latest=None))
    shelf.remove(2)
    registry.refresh()
    assert available(registry) == [1]
    registry.refresh()
    assert refusal(registry, "m", 2)[0] == "NOT_FOUND"
    states = [(version.number, version.state) for version in registry.versions("m")]
    assert states == [(2, State.END), (1, State.AVAILABLE)]


def test_a_version_can_come_back(shelf: Shelf):
    shelf.add(1, 2)
    only = [Policy(specific=frozenset({number})) for number in (1, 2, 1)]
    registry = Registry(shelf.load)
    for policy, expected in zip(only, (1, 2, 1), strict=True):
        registry.configure([shelf.settings(policy)])
        assert available(registry) == [expected]


def test_a_broken_version_that_is_no_longer_wanted_has_ended_and_may_be_wanted_again(shelf: Shelf):
    shelf.add(1, 2)
    (shelf.base / "2" / "broken").touch()
    registry = Registry(shelf.load, Retries(count=5, seconds=60))
    registry.configure([shelf.settings(Policy(latest=None))])
    assert registry.versions("m", 2)[0].state is State.LOADING
    only = Policy(specific=frozenset({1}))
    registry.configure([shelf.settings(only)])
    assert registry.versions("m", 2)[0].state is State.END
    registry.configure([shelf.settings(Policy(latest=None))])
    assert shelf.loaded == [2, 1, 2]  # at once, and not after a minute


def test_a_directory_without_versions_is_reported_once(
    shelf: Shelf, caplog: pytest.LogCaptureFixture
):
    registry = served(shelf)
    registry.refresh()
    assert refusal(registry, "m") == ("NOT_FOUND", "Servable not found for request: Latest(m)")
    warnings = [r.message for r in caplog.records if "No versions of servable m found" in r.message]
    assert len(warnings) == 1


def test_labels_choose_versions(shelf: Shelf):
    shelf.add(1, 2)
    registry = served(shelf, Policy(latest=None), stable=1, canary=2)
    assert registry.find("m", None, "stable").number == 1
    assert registry.find("m", None, "canary").number == 2
    assert refusal(registry, "m", None, "other") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: other",
    )


def test_a_version_that_is_no_longer_wanted_goes_although_a_label_names_it(shelf: Shelf):
    shelf.add(1, 2)
    registry = served(shelf, Policy(latest=None), stable=1)
    registry.configure([shelf.settings(Policy(latest=1), stable=1)])
    assert available(registry) == [2]
    assert refusal(registry, "m", None, "stable") == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 1)",
    )


def test_what_is_missing_is_told_with_the_reason(shelf: Shelf):
    registry = served(shelf)
    (model,) = registry.models()
    assert model.missing() == {"m": f"no version under {shelf.base}"}
    shelf.add(1)
    shelf.add(2, broken=True)
    registry.configure([shelf.settings(Policy(specific=frozenset({1, 2, 3})))])
    assert model.missing() == {"m/3": "no such directory", "m/2": "ValueError: a broken file"}
    assert not registry.ready()


def test_a_model_taken_off_the_configuration_is_unloaded(shelf: Shelf):
    shelf.add(1)
    registry = served(shelf)
    registry.configure([])
    assert shelf.servables[1].closed
    assert refusal(registry, "m")[0] == "NOT_FOUND"


def test_closing_unloads_everything(shelf: Shelf):
    shelf.add(1, 2)
    registry = served(shelf, Policy(latest=None))
    registry.close()
    assert all(servable.closed for servable in shelf.servables.values())
