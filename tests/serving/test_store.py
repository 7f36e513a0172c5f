"""The store publishes whole versions, remembers what was stable, and survives its publishers."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import catalog
from serving.errors import StoreError
from serving.store import Store
from tests.support.classifier import write_manifest
from tests.support.publishing import put_in_service

Shell = Callable[..., Path]


def test_a_published_version_is_listed_live_verified_and_recorded(store: Store, shell: Shell):
    before = int(time.time())
    version = put_in_service(store, "digits", shell())
    assert before <= version <= time.time()
    assert store.names() == ["digits"]
    assert store.versions("digits") == [version]
    assert store.live("digits") == version
    store.verify("digits", version)
    (event,) = store.history("digits")
    assert (event["event"], event["version"], event["label"]) == ("publish", version, "stable")


def test_versions_rise_within_one_second_and_never_come_back(store: Store, shell: Shell):
    first, second = (put_in_service(store, "digits", shell()) for _ in range(2))
    third = store.publish("digits", shell(), label=None)
    assert first < second < third
    store.retire("digits", keep=1)
    assert put_in_service(store, "digits", shell()) > third


def test_an_unknown_model_has_no_versions(store: Store):
    assert store.names() == []
    assert store.versions("digits") == []
    assert store.live("digits") is None


def test_an_empty_store_has_a_config_that_tensorflow_serving_reads(store: Store):
    store.create()
    text = (store.root / "models.config").read_text()
    assert text == "model_config_list {\n}\n"
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert config.WhichOneof("config") == "model_config_list"


def test_creating_again_keeps_the_models(store: Store, shell: Shell):
    version = put_in_service(store, "digits", shell())
    store.create()
    assert store.live("digits") == version


def test_tensorflow_serving_reads_what_is_served(store: Store, shell: Shell):
    first = put_in_service(store, "digits", shell())
    second = put_in_service(store, "digits", shell())
    text = (store.root / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == (
        "digits",
        "/models/digits",
        "tensorflow",
    )
    assert list(model.model_version_policy.specific.versions) == [first, second]
    assert dict(model.version_labels) == {"stable": second}


def test_base_paths_of_the_container_map_to_where_the_store_lies():
    assert catalog.local_path("/models/digits", Path("/srv/store")) == Path("/srv/store/digits")
    assert catalog.local_path("/elsewhere/digits", Path("/srv/store")) == Path("/elsewhere/digits")


def test_rollback_returns_to_the_version_before_and_unserves_the_bad_one(
    store: Store, shell: Shell
):
    versions = [put_in_service(store, "digits", shell()) for _ in range(3)]
    assert store.rollback("digits") == versions[1]
    assert store.live("digits") == versions[1]
    assert store.served("digits") == versions[:2]
    assert store.versions("digits") == versions


def test_rollback_never_returns_to_a_version_that_was_rolled_back(store: Store, shell: Shell):
    good, bad = (put_in_service(store, "digits", shell()) for _ in range(2))
    store.rollback("digits")
    repaired = put_in_service(store, "digits", shell())
    assert store.rollback("digits") == good
    assert bad not in store.served("digits")
    assert repaired not in store.served("digits")


def test_rollback_of_the_first_version_is_refused(store: Store, shell: Shell):
    put_in_service(store, "digits", shell())
    with pytest.raises(StoreError, match="digits cannot be rolled back: no earlier stable version"):
        store.rollback("digits")


def test_a_canary_is_served_beside_stable_and_can_be_promoted(store: Store, shell: Shell):
    stable = put_in_service(store, "digits", shell())
    canary = put_in_service(store, "digits", shell(), "canary")
    assert store.labels("digits") == {"stable": stable, "canary": canary}
    assert store.served("digits") == [stable, canary]
    store.set_label("digits", "stable", canary)
    store.remove_label("digits", "canary")
    assert store.labels("digits") == {"stable": canary}
    assert store.rollback("digits") == stable


BACK = {"stable": "old", "canary": "canary"}
BOTH = {"stable": "stable", "canary": "stable"}


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        (lambda store, _: store.promote("digits"), {"stable": "canary"}),
        (lambda store, _: store.rollback("digits"), BACK),
        (lambda store, at: store.withdraw("digits", at["stable"], "biased"), BACK),
        (lambda store, _: store.remove_label("digits", "canary"), {"stable": "stable"}),
        (lambda store, at: store.set_label("digits", "canary", at["stable"]), BOTH),
    ],
    ids=["promote", "rollback", "withdraw", "remove_label", "set_label"],
)
def test_a_change_moves_the_labels_it_names_and_no_other(
    store: Store,
    shell: Shell,
    change: Callable[[Store, dict[str, int]], object],
    labels: dict[str, str],
):
    at = {"old": put_in_service(store, "digits", shell())}
    store.set_label("digits", "audit", at["old"])
    at["stable"] = put_in_service(store, "digits", shell())
    at["canary"] = put_in_service(store, "digits", shell(), "canary")
    change(store, at)
    store.settle("digits")
    moved = {label: at[version] for label, version in labels.items()}
    assert store.labels("digits") == {"audit": at["old"], **moved}


def test_a_version_without_a_label_is_stored_but_not_served(store: Store, shell: Shell):
    version = store.publish("digits", shell(), label=None)
    assert store.versions("digits") == [version]
    assert store.served("digits") == []


def test_retention_spares_what_is_served(store: Store, shell: Shell):
    store = Store(store.root, keep=2)
    first = put_in_service(store, "digits", shell())
    second = put_in_service(store, "digits", shell())
    third, fourth, fifth = (store.publish("digits", shell(), label=None) for _ in range(3))
    assert store.versions("digits") == [first, second, fourth, fifth]
    deleted = [event for event in store.history("digits") if event["event"] == "delete"]
    assert [event["version"] for event in deleted] == [third]


def test_publishing_one_model_leaves_the_others_alone(store: Store, shell: Shell):
    digits = put_in_service(store, "digits", shell())
    iris = put_in_service(store, "iris", shell())
    assert store.names() == ["digits", "iris"]
    assert (store.live("digits"), store.live("iris")) == (digits, iris)


def test_copies_are_readable_by_every_user(store: Store, shell: Shell):
    source = shell()
    for path in [source, *source.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    old = os.umask(0o077)
    try:
        put_in_service(store, "digits", source)
    finally:
        os.umask(old)
    published = [store.root, *store.root.rglob("*")]
    modes = {
        path.name: path.stat().st_mode & 0o777 for path in published if path.name[:1] not in ".h"
    }
    directories = {path.name for path in published if path.is_dir()}
    assert {name: mode for name, mode in modes.items() if name in directories} == dict.fromkeys(
        directories, 0o755
    )
    assert all(mode == 0o644 for name, mode in modes.items() if name not in directories)


def test_the_history_survives_a_torn_line(store: Store, shell: Shell):
    first = put_in_service(store, "digits", shell())
    path = store.root / "digits" / "history.jsonl"
    path.write_text(path.read_text() + '{"event": "publ')
    second = put_in_service(store, "digits", shell())
    published = [e["version"] for e in store.history("digits") if e["event"] == "publish"]
    assert published == [first, second]
    assert store.rollback("digits") == first


def test_a_card_is_read_and_its_absence_is_no_error(store: Store, shell: Shell):
    source = shell()
    assert store.card("digits", put_in_service(store, "digits", source)) == {}
    (source / "assets.extra" / "card.json").write_text('{"run": "one"}')
    write_manifest(source)
    assert store.card("digits", put_in_service(store, "digits", source)) == {"run": "one"}
