"""Which processes train together, as TF_CONFIG says it."""

import json

import pytest

from jobs.crew import Crew, read_cluster
from jobs.exits import ConfigError
from trainer.cluster import Cluster


def told(cluster: dict[str, list[str]], kind: str, index: int | str) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    ("cluster", "kind", "index", "expected"),
    [
        ({"worker": ["a:1", "b:2"]}, "worker", 0, Cluster(("a:1", "b:2"), 0)),
        ({"worker": ["a:1", "b:2"]}, "worker", "1", Cluster(("a:1", "b:2"), 1)),
        ({"worker": ["b:2"], "chief": ["a:1"]}, "chief", 0, Cluster(("a:1", "b:2"), 0)),
        ({"worker": ["b:2"], "chief": ["a:1"]}, "worker", 0, Cluster(("a:1", "b:2"), 1)),
        ({"worker": ["a:1"]}, "worker", 0, None),  # alone
    ],
)
def test_the_chief_comes_first(cluster, kind, index, expected):
    found = read_cluster(told(cluster, kind, index))
    assert found == expected
    assert Crew(found).trains_along == (expected is not None and expected.index > 0)


def test_without_the_variable_a_process_trains_alone():
    assert read_cluster({}) is None
    assert not Crew(None).trains_along


@pytest.mark.parametrize(
    "environment",
    [
        {"TF_CONFIG": "{"},
        {"TF_CONFIG": "[]"},
        {"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:2"]}}'},
        told({"worker": ["a:1", "b:2"]}, "worker", 2),
        told({"worker": ["a:1", "b:2"]}, "ps", 0),
        told({"worker": ["a:1", "b:2"]}, "worker", "first"),
    ],
)
def test_what_cannot_be_read_is_shown_beside_what_could(environment):
    with pytest.raises(ConfigError, match=r'TF_CONFIG is .* Expected, such as: \{"cluster"'):
        read_cluster(environment)
