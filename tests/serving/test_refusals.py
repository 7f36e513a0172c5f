"""What the store refuses: bad names, damaged exports, versions that are not there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import StoreError
from serving.store import Store

Shell = Callable[..., Path]


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
