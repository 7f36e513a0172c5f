"""A version that proves bad in service is withdrawn; one that proves good is promoted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import StoreError
from serving.store import Store
from tests.support.publishing import put_in_service

Shell = Callable[..., Path]


def test_a_withdrawn_version_gives_way_to_the_one_before_and_never_returns(
    store: Store, shell: Shell
):
    good, bad = (put_in_service(store, "digits", shell()) for _ in range(2))
    assert store.withdraw("digits", bad, "host:8500 does not serve it") == good
    assert (store.live("digits"), store.served("digits")) == (good, [good])
    assert store.withdraw("digits", bad, "again") == good
    last = store.history("digits")[-1]
    assert (last["event"], last["version"], last["reason"]) == (
        "withdraw",
        bad,
        "host:8500 does not serve it",
    )
    assert [event["event"] for event in store.history("digits")].count("withdraw") == 1
    repaired = put_in_service(store, "digits", shell())
    assert store.rollback("digits") == good
    assert {bad, repaired}.isdisjoint(store.served("digits"))


def test_the_only_version_withdrawn_leaves_nothing_served(store: Store, shell: Shell):
    only = put_in_service(store, "digits", shell())
    assert store.withdraw("digits", only, "wrong answers") is None
    assert (store.live("digits"), store.served("digits")) == (None, [])
    assert store.versions("digits") == [only]
    put_in_service(store, "digits", shell())
    with pytest.raises(StoreError, match="no earlier stable version"):
        store.rollback("digits")


def test_a_withdrawn_canary_leaves_stable_alone(store: Store, shell: Shell):
    stable = put_in_service(store, "digits", shell())
    canary = put_in_service(store, "digits", shell(), "canary")
    assert store.withdraw("digits", canary, "wrong answers") == stable
    assert store.labels("digits") == {"stable": stable}


def test_a_withdrawal_killed_between_its_record_and_the_labels_is_completed(
    store: Store, shell: Shell
):
    good, bad = (put_in_service(store, "digits", shell()) for _ in range(2))
    config = (store.root / "models.config").read_bytes()
    store.withdraw("digits", bad, "wrong answers")
    (store.root / "models.config").write_bytes(config)  # as the kill left it
    assert store.live("digits") == bad
    assert store.withdraw("digits", bad, "wrong answers") == good
    assert [event["event"] for event in store.history("digits")].count("withdraw") == 1


def test_promoting_makes_the_canary_stable_in_one_step(store: Store, shell: Shell):
    stable = put_in_service(store, "digits", shell())
    canary = put_in_service(store, "digits", shell(), "canary")
    assert store.promote("digits") == canary
    assert store.labels("digits") == {"stable": canary}
    assert store.history("digits")[-1]["event"] == "promote"
    assert store.rollback("digits") == stable
    with pytest.raises(StoreError, match="digits has no canary to promote. Labels: stable"):
        store.promote("digits")


def test_completing_labels_and_records_what_a_killed_publish_left(store: Store, shell: Shell):
    first, second = (
        put_in_service(store, "digits", shell()),
        put_in_service(store, "digits", shell()),
    )
    lines = (store.root / "digits" / "history.jsonl").read_text().splitlines(keepends=True)
    (store.root / "digits" / "history.jsonl").write_text(lines[0])  # killed after the rename:
    store.set_label("digits", "stable", first)  # no record, no label
    store.complete("digits", second)
    assert store.pending("digits") == {"stable": second}
    store.complete("digits", second)
    store.settle("digits")
    assert store.live("digits") == second
    published = [e["version"] for e in store.history("digits") if e["event"] == "publish"]
    assert published == [first, second]
