"""Splits that are cut: each example by its key alone, and a class that drew none is lent one."""

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline import DataConfig
from pipeline.dataset import open_data
from pipeline.sources.cut import draw, lend

SHARES = {"test": 0.15, "validation": 0.1}
PLACES = st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=60, unique=True)


def cut(places: list[int], labels: list[int]) -> tuple[np.ndarray, list[int]]:
    known, numbers = np.array(places, np.uint64), np.array(labels, np.int64)
    parts = draw(known, numbers, SHARES)
    return parts, lend(known, numbers, parts, SHARES)


@given(PLACES, st.data())
def test_growth_moves_none_but_what_was_lent(places, data):
    labels = [data.draw(st.integers(0, 2)) for _ in places]
    size = data.draw(st.integers(1, len(places)))
    before, lent_before = cut(places[:size], labels[:size])
    after, lent_after = cut(places, labels)
    moved = np.flatnonzero(before != after[:size])
    assert set(moved) <= {*lent_before, *lent_after}


@given(PLACES, st.data())
def test_a_class_of_three_is_in_every_split_and_a_smaller_one_is_trained_on_first(places, data):
    labels = [data.draw(st.integers(0, 2)) for _ in places]
    parts, _ = cut(places, labels)
    for label in set(labels):
        found = parts[np.array(labels) == label]
        expected = {"train", "test", "validation"} if len(found) > 2 else None
        if expected:
            assert set(found) == expected
        else:
            assert set(found) == ({"train"} if len(found) == 1 else {"train", "test"})


def test_shares_are_right_to_the_nearest_few():
    places = np.random.default_rng(0).integers(0, 1 << 64, 30_000, np.uint64)
    labels = np.arange(30_000) % 3
    parts = draw(places, labels, SHARES)
    for label in range(3):
        found = parts[labels == label]
        assert (found == "test").mean() == pytest.approx(0.15, abs=0.015)  # 4 deviations
        assert (found == "validation").mean() == pytest.approx(0.10, abs=0.013)


def test_the_nearest_place_is_lent():
    top = 1 << 64
    places = [int(top * at) for at in (0.5, 0.27, 0.9)]
    parts, lent = cut(places, [0, 0, 0])
    assert parts.tolist() == ["validation", "test", "train"]  # the test chooses first: 0.27
    assert sorted(lent) == [0, 1]


def write(root: Path, sizes: dict[str, int]) -> Path:
    for seed, (label, count) in enumerate(sizes.items()):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            colour = (seed * 60, number, 9)
            Image.new("RGB", (4, 4), colour).save(root / label / f"{number}.png")
    return root


def parts_of(source: str, data_dir: Path, **settings) -> dict[str, str]:
    config = DataConfig(source=source, data_dir=str(data_dir), image_size=(4, 4), **settings)
    data = open_data(config)
    return {
        f"{data.info.class_names[example['label']]} {example['key'].decode()}": part
        for part, found in data.slices.items()
        for example in found.read().as_numpy_iterator()
    }


def test_a_growing_folder_and_a_chosen_class_move_no_example(tmp_path, data_dir):
    write(tmp_path / "d", {"ant": 30, "bee": 30, "cat": 30})
    source = f"folder:{tmp_path / 'd'}"
    before = parts_of(source, data_dir)
    assert len(before) == 90
    chosen = parts_of(source, data_dir, class_names=("cat", "ant"))
    assert chosen == {key: part for key, part in before.items() if not key.startswith("bee ")}
    write(tmp_path / "d", {"ant": 45, "dog": 30})
    after = parts_of(source, data_dir)
    assert len(after) == 135
    assert {key: after[key] for key in before} == before


def test_a_part_of_a_cut_split_knows_its_size_and_its_order(data_dir):
    """Keras warns of data that end before it knows of an end."""
    test = open_data(DataConfig(source="iris", data_dir=str(data_dir), resplit=True)).slices["test"]
    assert test.read().cardinality() == test.count
    keys = [example["key"] for example in test.read().as_numpy_iterator()]
    parts = [test.part(start, min(start + 6, test.count)) for start in range(0, test.count, 6)]
    read = [example["key"] for part in parts for example in part.read().as_numpy_iterator()]
    assert read == keys
    assert len(test.contents()) == test.count == len(keys)


def test_what_was_lent_is_named(tmp_path, data_dir, caplog):
    write(tmp_path / "d", {"ant": 3, "bee": 30})
    with caplog.at_level(logging.WARNING):
        parts = parts_of(f"folder:{tmp_path / 'd'}", data_dir)
    assert {part for key, part in parts.items() if "ant" in key} == {"train", "test", "validation"}
    assert "the nearest example was taken: ant/" in caplog.text


@pytest.mark.parametrize("field", ["test_fraction", "validation_fraction"])
def test_a_fraction_that_cannot_apply_is_refused(tmp_path, data_dir, field):
    for split in ("train", "val", "test"):
        write(tmp_path / split, {"ant": 4, "bee": 4})
    config = DataConfig(
        source=f"folder:{tmp_path}", data_dir=str(data_dir), image_size=(4, 4), **{field: 0.3}
    )
    part = field.partition("_")[0]
    with pytest.raises(ValueError, match=f"{field} 0.3 cannot apply: .* has a {part} split of its"):
        open_data(config)
    joined = open_data(config.model_copy(update={"resplit": True}))
    assert sum(joined.info.counts.values()) == 24


def test_the_course_splits_iris_by_three_tenths(data_dir):
    config = DataConfig(source="iris", data_dir=str(data_dir), test_fraction=0.3, resplit=True)
    counts = open_data(config).info.counts
    assert sum(counts.values()) == 150
    assert counts["test"] == pytest.approx(45, abs=15)


def test_joining_one_split_is_refused(tmp_path, data_dir):
    write(tmp_path, {"ant": 10, "bee": 10})
    with pytest.raises(ValueError, match="none but train, which is cut anyway"):
        parts_of(f"folder:{tmp_path}", data_dir, resplit=True)


def test_fractions_leave_something_to_train_on(data_dir):
    config = DataConfig(source="iris", data_dir=str(data_dir), validation_fraction=0.9)
    assert open_data(config).info.counts["train"] > 0  # the test is the source's own
    with pytest.raises(ValueError, match="0.15 and data.validation_fraction 0.9 leave nothing to"):
        open_data(config.model_copy(update={"resplit": True}))
