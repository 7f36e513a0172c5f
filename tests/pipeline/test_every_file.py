"""Images found and files named are all the files there, whatever lies in a directory."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.sources.folder import folder
from tests.support.trees import Tree, trees
from tests.support.workplace import Workplace

SETTINGS = settings(
    deadline=None,
    derandomize=True,  # the same trees in every session: what one finds, the next finds again
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS, TENS = itertools.count(), itertools.count()


@pytest.fixture
def check(tmp_path: Path, workplace: Workplace) -> Callable[..., None]:
    """Count what is found and named of a tree, as a directory and packed.

    `wrapper` is the path around everything in the archive, `packed` or `loose` what goes through
    the command too.
    """

    def check(tree: Tree, suffix: str, wrapper: str, through_command: str = "") -> None:
        place = tmp_path / str(next(NUMBERS))
        tree.write(place / "tree", place / "elsewhere")
        packed = replace(tree, links={}).pack(place / f"packed{suffix}", wrapper)
        expected = {place / "tree": tree.count(), packed: replace(tree, links={}).count()}
        if wrapper and tree.has_loose_images():  # is `top` a class, or around the classes?
            with pytest.raises(ValueError, match="needs at least 2 classes"):
                folder(str(packed), place / "data")
            del expected[packed]
        for source, count in expected.items():
            found = folder(str(source), place / "data")
            sound = sum(1 for examples in found.splits.values() for _ in examples())
            undecodable, passed_over = found.examination.quarantine, found.passed_over or []
            assert sound + len(undecodable) + len(passed_over) == count
            if through_command == ("packed" if source is packed else "loose"):
                verdict = inspected(workplace, source)
                counts = [sum(classes.values()) for classes in verdict["counts"].values()]
                assert sum(counts) == sound
                assert verdict["undecodable"] == undecodable
                assert verdict["passed_over"] == passed_over

    return check


def inspected(workplace: Workplace, source: Path) -> Any:
    """Return the verdict of `convoy data check`."""
    wanted = {"source": f"folder:{source}", "channels": "3", "data_dir": str(source.parent)}
    overrides = [part for key, value in wanted.items() for part in ("--set", f"data.{key}={value}")]
    done = workplace("data", "check", "job.toml", "--json", *overrides)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


SUFFIXES, WRAPPERS = st.sampled_from((".zip", ".tar")), st.sampled_from(("", "top/", "a/b/"))


@settings(SETTINGS, max_examples=5)
@given(trees(), SUFFIXES, WRAPPERS)
def test_images_found_and_files_named_are_the_files_there(check, tree, suffix, wrapper):
    check(tree, suffix, wrapper)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(SETTINGS, max_examples=100)
@given(trees(), SUFFIXES, WRAPPERS)
def test_the_same_of_a_hundred_trees_one_in_ten_through_the_command(check, tree, suffix, wrapper):
    check(tree, suffix, wrapper, {0: "loose", 10: "packed"}.get(next(TENS) % 20, ""))
