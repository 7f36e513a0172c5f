"""Labels are checked before anything is loaded, over all models, all or nothing.

In the order of TensorFlow Serving's ServerCore::ReloadConfig: a configuration of which one label
names a version that is not available changes nothing, not even for other models.
"""

from pathlib import Path

import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving.errors import ConfigError
from serving.model_settings import Policy
from serving.registry import Registry
from serving.server import ModelServer
from serving.settings import Listen, Loading, ServerSettings
from serving.store import Store
from serving.watch import ConfigWatch
from tests.support.shelf import Shelf, available, refusal, served

BOTH = Policy(specific=frozenset({1, 2}))
REFUSAL = (
    "Request to assign label to version 2 of model m, which is not currently available for "
    "inference"
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_label_cannot_come_with_the_version_it_names(shelf: Shelf):
    shelf.add(1, 2)
    registry = Registry(shelf.load)
    with pytest.raises(ConfigError, match=REFUSAL) as caught:
        registry.configure([shelf.settings(BOTH, stable=2)])
    assert caught.value.code == "FAILED_PRECONDITION"
    assert registry.models() == []
    assert shelf.loaded == []
    registry.configure([shelf.settings(BOTH)])
    registry.configure([shelf.settings(BOTH, stable=2)])
    assert registry.find("m", None, "stable").number == 2


def test_a_label_not_in_use_may_come_first_when_allowed(shelf: Shelf):
    shelf.add(1)
    registry = Registry(shelf.load, lenient=True)
    registry.configure([shelf.settings(stable=7)])
    assert refusal(registry, "m", None, "stable") == (
        "NOT_FOUND",
        "Servable not found for request: Specific(m, 7)",
    )
    registry.configure([shelf.settings(stable=7)])  # the same again is no move


@pytest.mark.parametrize("lenient", [False, True])
def test_a_label_in_use_never_moves_to_a_version_that_is_not_there(shelf: Shelf, lenient: bool):
    shelf.add(1, 2)
    only = Policy(specific=frozenset({1}))
    registry = Registry(shelf.load, lenient=lenient)
    registry.configure([shelf.settings(only)])
    registry.configure([shelf.settings(only, stable=1)])
    with pytest.raises(ConfigError, match=REFUSAL):
        registry.configure([shelf.settings(BOTH, stable=2)])
    assert registry.find("m", None, "stable").number == 1
    assert available(registry) == [1]  # 2 was part of what was refused: it is not even loaded


def test_one_label_holds_up_the_whole_configuration(shelf: Shelf, tmp_path: Path):
    other = Shelf(tmp_path, "other")
    shelf.add(1)
    other.add(1, 2)
    registry = served(shelf, stable=1)
    for moved in (shelf.settings(stable=2), shelf.settings(stable=2, good=1)):
        with pytest.raises(ConfigError, match=REFUSAL):
            registry.configure([other.settings(), moved])
    assert refusal(registry, "other")[0] == "NOT_FOUND"
    assert refusal(registry, "m", None, "good")[0] == "INVALID_ARGUMENT"
    assert registry.find("m", None, "stable").number == 1


def test_a_label_of_an_unknown_model_is_unknown(shelf: Shelf):
    assert refusal(Registry(shelf.load), "nobody", None, "x") == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: x",
    )


def write(path: Path, base: Path, label: str, *versions: int) -> None:
    listed = " ".join(f"versions: {version}" for version in versions)
    path.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" '
        f'model_platform: "tensorflow" model_version_policy {{ specific {{ {listed} }} }} {label} '
        "} }"
    )


def label(name: str, version: int) -> str:
    return f'version_labels {{ key: "{name}" value: {version} }}'


def test_a_refused_file_is_tried_at_every_poll_until_its_label_can_move(
    shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    shelf.add(1)
    file = tmp_path / "models.config"
    write(file, shelf.base, label("stable", 1), 1)
    registry = Registry(shelf.load, lenient=True)
    watch = ConfigWatch(ServerSettings(config=file), registry)
    watch.start()
    shelf.add(2)
    write(file, shelf.base, label("stable", 2), 1, 2)  # both at once: refused for ever
    for _ in range(3):
        watch.poll()
        assert available(registry) == [1]
    assert registry.problems() == {"configuration": REFUSAL}
    assert len([r for r in caplog.records if REFUSAL in r.message]) == 1
    write(file, shelf.base, label("stable", 1), 1, 2)  # the version first, as Store.publish does
    watch.poll()
    assert registry.problems() == {}
    write(file, shelf.base, label("stable", 2), 1, 2)
    watch.poll()
    assert registry.find("m", None, "stable").number == 2


def test_a_server_that_missed_the_write_of_the_version_refuses_that_of_the_label(
    shelf: Shelf, tmp_path: Path
):
    shelf.add(1, 2)
    file = tmp_path / "models.config"
    write(file, shelf.base, label("stable", 1), 1)
    registry = Registry(shelf.load, lenient=True)
    watch = ConfigWatch(ServerSettings(config=file), registry)
    watch.start()
    write(file, shelf.base, label("stable", 2), 1, 2)
    watch.poll()
    assert registry.find("m", None, "stable").number == 1
    write(file, shelf.base, label("stable", 1), 1, 2)  # what `convoy models repair` writes
    watch.poll()
    write(file, shelf.base, label("stable", 2), 1, 2)
    watch.poll()
    assert registry.find("m", None, "stable").number == 2


@pytest.mark.parametrize("as_production", [True, False])
def test_a_configuration_sent_by_request_holds_until_the_file_is_polled_or_changes(
    shelf: Shelf, tmp_path: Path, as_production: bool
):
    """PollFilesystemAndReloadConfig applies the file at every poll, changed or not."""
    shelf.add(1)
    file = tmp_path / "models.config"
    write(file, shelf.base, "", 1)
    registry = Registry(shelf.load, lenient=True)
    loading = Loading(as_production=as_production)
    watch = ConfigWatch(ServerSettings(config=file, loading=loading), registry)
    watch.start()
    sent = model_server_config_pb2.ModelServerConfig()
    sent.model_config_list.config.add(
        name="sent", base_path=str(shelf.base), model_platform="tensorflow"
    )
    watch.replace(sent)
    assert [model.settings.name for model in registry.models()] == ["sent"]
    watch.poll()
    assert [model.settings.name for model in registry.models()] == [
        "m" if as_production else "sent"
    ]
    write(file, shelf.base, label("stable", 1), 1)
    watch.poll()
    assert [model.settings.name for model in registry.models()] == ["m"]


def test_a_server_without_the_flag_does_not_start_on_a_file_with_labels(
    store: Store, classifiers: list[Path]
):
    version = store.publish("shapes", classifiers[0])
    loading = Loading(lenient_labels=False)
    listen = Listen(port=0, rest_port=0)
    settings = ServerSettings(
        config=store.root / "models.config", store=store.root, listen=listen, loading=loading
    )
    with pytest.raises(ConfigError, match=f"assign label to version {version} of model shapes"):
        ModelServer(settings).start()
