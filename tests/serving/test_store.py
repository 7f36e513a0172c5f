"""The store publishes whole versions, remembers what was stable, and survives its publishers."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving import catalog
from serving.errors import StoreError
from serving.store import Store

Shell = Callable[..., Path]


def test_a_published_version_is_listed_live_verified_and_recorded(store: Store, shell: Shell):
    before = int(time.time())
    version = store.publish("digits", shell())
    assert before <= version <= time.time()
    assert store.names() == ["digits"]
    assert store.versions("digits") == [version]
    assert store.live("digits") == version
    store.verify("digits", version)
    (event,) = store.history("digits")
    assert (event["event"], event["version"], event["label"]) == ("publish", version, "stable")


def test_versions_rise_within_one_second_and_never_come_back(store: Store, shell: Shell):
    first, second = (store.publish("digits", shell()) for _ in range(2))
    third = store.publish("digits", shell(), label=None)
    assert first < second < third
    store.retire("digits", keep=1)
    assert store.publish("digits", shell()) > third


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
    version = store.publish("digits", shell())
    store.create()
    assert store.live("digits") == version


def test_tensorflow_serving_reads_what_is_served(store: Store, shell: Shell):
    first = store.publish("digits", shell())
    second = store.publish("digits", shell())
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
    versions = [store.publish("digits", shell()) for _ in range(3)]
    assert store.rollback("digits") == versions[1]
    assert store.live("digits") == versions[1]
    assert store.served("digits") == versions[:2]
    assert store.versions("digits") == versions


def test_rollback_never_returns_to_a_version_that_was_rolled_back(store: Store, shell: Shell):
    good, bad = store.publish("digits", shell()), store.publish("digits", shell())
    store.rollback("digits")
    repaired = store.publish("digits", shell())
    assert store.rollback("digits") == good
    assert bad not in store.served("digits")
    assert repaired not in store.served("digits")


def test_rollback_of_the_first_version_is_refused(store: Store, shell: Shell):
    store.publish("digits", shell())
    with pytest.raises(StoreError, match="digits cannot be rolled back: no earlier stable version"):
        store.rollback("digits")


def test_a_canary_is_served_beside_stable_and_can_be_promoted(store: Store, shell: Shell):
    stable = store.publish("digits", shell())
    canary = store.publish("digits", shell(), label="canary")
    assert store.labels("digits") == {"stable": stable, "canary": canary}
    assert store.served("digits") == [stable, canary]
    store.set_label("digits", "stable", canary)
    store.remove_label("digits", "canary")
    assert store.labels("digits") == {"stable": canary}
    assert store.rollback("digits") == stable


def test_a_version_without_a_label_is_stored_but_not_served(store: Store, shell: Shell):
    version = store.publish("digits", shell(), label=None)
    assert store.versions("digits") == [version]
    assert store.served("digits") == []


def test_retention_spares_what_is_served(store: Store, shell: Shell):
    store = Store(store.root, keep=2)
    first = store.publish("digits", shell())
    second = store.publish("digits", shell())
    third, fourth, fifth = (store.publish("digits", shell(), label=None) for _ in range(3))
    assert store.versions("digits") == [first, second, fourth, fifth]
    deleted = [event for event in store.history("digits") if event["event"] == "delete"]
    assert [event["version"] for event in deleted] == [third]


def test_a_deletion_that_was_killed_before_it_was_told_is_told_by_the_next(store, shell):
    store = Store(store.root, keep=1)
    versions = [store.publish("digits", shell(), label=None) for _ in range(2)]
    shutil.rmtree(store.path("digits", versions[1]))  # as a process killed half-way leaves it
    versions += [store.publish("digits", shell(), label=None) for _ in range(2)]
    deleted = [event for event in store.history("digits") if event["event"] == "delete"]
    assert [event["version"] for event in deleted] == versions[:3]


def test_publishing_one_model_leaves_the_others_alone(store: Store, shell: Shell):
    digits = store.publish("digits", shell())
    iris = store.publish("iris", shell())
    assert store.names() == ["digits", "iris"]
    assert (store.live("digits"), store.live("iris")) == (digits, iris)


def test_copies_are_readable_by_every_user(store: Store, shell: Shell):
    source = shell()
    for path in [source, *source.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    old = os.umask(0o077)
    try:
        store.publish("digits", source)
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


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", ".hidden", "models.config", "x" * 129])
def test_a_name_that_could_leave_the_store_is_refused(store: Store, shell: Shell, name: str):
    with pytest.raises(StoreError, match="is no model name"):
        store.publish(name, shell())


@pytest.mark.parametrize("label", ["", "a b", "-x"])
def test_a_bad_label_is_refused_before_anything_is_written(store: Store, shell: Shell, label: str):
    with pytest.raises(StoreError, match="is no label"):
        store.publish("digits", shell(), label=label)
    assert not store.root.exists()


def test_a_directory_that_is_no_saved_model_is_refused(store: Store, tmp_path: Path):
    with pytest.raises(StoreError, match=r"it has no saved_model\.pb"):
        store.publish("digits", tmp_path)


def test_a_saved_model_without_manifest_is_refused(store: Store, shell: Shell):
    source = shell()
    (source / "assets.extra" / "manifest.json").unlink()
    with pytest.raises(StoreError, match=r"has no assets\.extra/manifest\.json"):
        store.publish("digits", source)
    assert not store.root.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[]", '"algorithm": "sha256"'),
        ('{"algorithm": "md5", "files": {}}', '"algorithm": "sha256"'),
        ('{"algorithm": "sha256"}', 'under "files"'),
    ],
)
def test_an_unreadable_manifest_is_refused(store: Store, shell: Shell, text: str, message: str):
    source = shell()
    (source / "assets.extra" / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match=message):
        store.publish("digits", source)


def test_changed_missing_and_unlisted_files_are_found(store: Store, shell: Shell):
    source = shell()
    (source / "saved_model.pb").write_text("other")
    with pytest.raises(StoreError, match="does not match its manifest: it was changed"):
        store.publish("digits", source)
    source = shell()
    (source / "stray").write_text("")
    with pytest.raises(StoreError, match=r"unlisted \['stray'\]"):
        store.publish("digits", source)
    (source / "stray").unlink()
    (source / "variables" / "variables.index").unlink()
    with pytest.raises(StoreError, match=r"missing \['variables/variables.index'\]"):
        store.publish("digits", source)


def test_verify_finds_a_file_that_rotted_in_the_store(store: Store, shell: Shell):
    version = store.publish("digits", shell())
    (store.path("digits", version) / "saved_model.pb").write_text("rot")
    with pytest.raises(StoreError, match="does not match its manifest"):
        store.verify("digits", version)


def test_an_unknown_version_is_named_with_those_present(store: Store, shell: Shell):
    version = store.publish("digits", shell())
    with pytest.raises(StoreError, match=f"no version 7. Versions present: {version}"):
        store.verify("digits", 7)


def test_a_store_that_is_not_there_says_how_to_make_one(store: Store):
    with pytest.raises(StoreError, match="there is no store at .*Publish a model"):
        store.rollback("digits")


def test_a_config_that_was_edited_badly_stops_the_publish(store: Store, shell: Shell):
    store.create()
    (store.root / "models.config").write_text("models: [")
    with pytest.raises(StoreError, match="is no text-format ModelServerConfig"):
        store.publish("digits", shell())


def test_the_history_survives_a_torn_line(store: Store, shell: Shell):
    first = store.publish("digits", shell())
    path = store.root / "digits" / "history.jsonl"
    path.write_text(path.read_text() + '{"event": "publ')
    second = store.publish("digits", shell())
    assert [event["version"] for event in store.history("digits")] == [first, second]
    assert store.rollback("digits") == first


def test_a_publish_killed_before_its_history_line_can_still_be_rolled_back(
    store: Store, shell: Shell
):
    first, second = store.publish("digits", shell()), store.publish("digits", shell())
    path = store.root / "digits" / "history.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert store.live("digits") == second
    assert store.rollback("digits") == first


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
    assert store.live("digits") == max(got)
    for version in store.versions("digits"):
        store.verify("digits", version)


def _publish_for_ever(root: Path, source: Path) -> subprocess.Popen[bytes]:
    code = (
        "import sys; from serving.store import Store\n"
        "store = Store(sys.argv[1], keep=3)\n"
        "print('ready', flush=True)\n"
        "while True: store.publish('digits', sys.argv[2])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, root, source], stdout=subprocess.PIPE, env=os.environ
    )
    assert process.stdout
    process.stdout.readline()
    return process


def _kill_in_mid_publish(store: Store, source: Path, delay: float) -> None:
    process = _publish_for_ever(store.root, source)
    time.sleep(delay)  # no condition to wait for: the instant of death is what is varied
    process.kill()
    process.communicate()


def _litter(store: Store) -> list[str]:
    known = {"models.config", "digits", ".lock", "history.jsonl"}
    inside = [path.name for path in store.root.iterdir()]
    inside += [path.name for path in (store.root / "digits").iterdir()]
    return [name for name in inside if name not in known and not name.isdecimal()]


def _check_after_kill(store: Store, source: Path) -> None:
    for version in store.versions("digits"):
        store.verify("digits", version)
    assert set(store.served("digits")) <= set(store.versions("digits"))
    newest = store.publish("digits", source)
    assert store.live("digits") == newest
    assert _litter(store) == []
    assert all(json.dumps(event) for event in store.history("digits"))


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_publisher_killed_at_any_instant_leaves_no_partial_version(
    store: Store, shell: Shell, kills: int
):
    source = shell(weights=os.urandom(2_000_000))
    for kill in range(kills):
        _kill_in_mid_publish(store, source, delay=0.001 + 0.0007 * (kill % 100))
        _check_after_kill(store, source)


def test_a_withdrawn_version_gives_way_to_the_one_before_and_never_returns(
    store: Store, shell: Shell
):
    good, bad = store.publish("digits", shell()), store.publish("digits", shell())
    assert store.withdraw("digits", bad, "host:8500 does not serve it") == good
    assert (store.live("digits"), store.served("digits")) == (good, [good])
    assert store.withdraw("digits", bad, "again") == good
    last = store.history("digits")[-1]
    assert (last["event"], last["version"], last["reason"]) == (
        "withdraw",
        bad,
        "host:8500 does not serve it",
    )
    assert len(store.history("digits")) == 3
    repaired = store.publish("digits", shell())
    assert store.rollback("digits") == good
    assert {bad, repaired}.isdisjoint(store.served("digits"))


def test_the_only_version_withdrawn_leaves_nothing_served(store: Store, shell: Shell):
    only = store.publish("digits", shell())
    assert store.withdraw("digits", only, "wrong answers") is None
    assert (store.live("digits"), store.served("digits")) == (None, [])
    assert store.versions("digits") == [only]
    store.publish("digits", shell())
    with pytest.raises(StoreError, match="no earlier stable version"):
        store.rollback("digits")


def test_a_withdrawn_canary_leaves_stable_alone(store: Store, shell: Shell):
    stable = store.publish("digits", shell())
    canary = store.publish("digits", shell(), label="canary")
    assert store.withdraw("digits", canary, "wrong answers") == stable
    assert store.labels("digits") == {"stable": stable}


def test_a_withdrawal_killed_between_its_record_and_the_labels_is_completed(
    store: Store, shell: Shell
):
    good, bad = store.publish("digits", shell()), store.publish("digits", shell())
    config = (store.root / "models.config").read_bytes()
    store.withdraw("digits", bad, "wrong answers")
    (store.root / "models.config").write_bytes(config)  # as the kill left it
    assert store.live("digits") == bad
    assert store.withdraw("digits", bad, "wrong answers") == good
    assert [event["event"] for event in store.history("digits")].count("withdraw") == 1


def test_promoting_makes_the_canary_stable_in_one_step(store: Store, shell: Shell):
    stable = store.publish("digits", shell())
    canary = store.publish("digits", shell(), label="canary")
    assert store.promote("digits") == canary
    assert store.labels("digits") == {"stable": canary}
    assert store.history("digits")[-1]["event"] == "promote"
    assert store.rollback("digits") == stable
    with pytest.raises(StoreError, match="digits has no canary to promote. Labels: stable"):
        store.promote("digits")


def test_completing_labels_and_records_what_a_killed_publish_left(store: Store, shell: Shell):
    first, second = store.publish("digits", shell()), store.publish("digits", shell())
    lines = (store.root / "digits" / "history.jsonl").read_text().splitlines(keepends=True)
    (store.root / "digits" / "history.jsonl").write_text(lines[0])  # killed after the rename:
    store.set_label("digits", "stable", first)  # no record, no label
    store.complete("digits", second)
    assert store.live("digits") == second
    store.complete("digits", second)
    published = [e["version"] for e in store.history("digits") if e["event"] == "publish"]
    assert published == [first, second]


def test_a_card_is_read_and_its_absence_is_no_error(store: Store, shell: Shell, manifest):
    source = shell()
    assert store.card("digits", store.publish("digits", source)) == {}
    (source / "assets.extra" / "card.json").write_text('{"run": "one"}')
    manifest(source)
    assert store.card("digits", store.publish("digits", source)) == {"run": "one"}
