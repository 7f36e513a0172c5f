"""Which examples are trained on, validated on and tested on.

A source's own splits stay as they are. What it lacks is cut from its training split, each example
by its key alone: as a source grows, none that is there moves.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.config import DataConfig
from pipeline.labels import chosen, distinct
from pipeline.sources.index import index
from pipeline.sources.source import KEY, split_named
from pipeline.sources.splits import Piece, Slice

REVISION = 1  # raise it when the same examples are cut in another way
PARTS = ("test", "validation", "train")
WHOLE = 1 << 64  # places lie below it
MOST_NAMED = 5  # examples in a message
NAMED = ("folder", "csv")  # sources whose classes have names, even where these are numbers
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Classes:
    """The classes of a job, and the source's number of each."""

    names: tuple[str, ...]
    numbers: np.ndarray | None  # int64 [K of the source]: ours, or -1; None: all, as they are

    @property
    def are_selected(self) -> bool:
        return self.numbers is not None and bool((self.numbers < 0).any())


@dataclass(frozen=True)
class Pool:
    """Examples that are cut: rows of the source's splits, one after the other."""

    splits: np.ndarray  # str [N]
    rows: np.ndarray  # int64 [N], in the split
    places: np.ndarray  # uint64 [N]
    labels: np.ndarray  # int64 [N], the source's numbers


def classes_of(builder: Any, config: DataConfig) -> Classes:
    """Give the classes that a job trains on. Raises ValueError for names that the source lacks."""
    feature = builder.info.features["label"]
    there = distinct(feature.names, f"source {config.source}")
    if len(there) < 2:
        raise ValueError(
            f"source {config.source} has one class, {there[0]}; a classifier needs at least 2"
        )
    if config.class_names is None:
        return Classes(there, None)
    wanted = config.class_names
    numbered = list(there) == [str(number) for number in range(len(there))]
    has_names = config.source.partition(":")[0] in NAMED or not numbered
    order = chosen(wanted, there, has_names, config.source)
    if order == list(range(len(there))):
        return Classes(wanted, None)
    numbers = np.full(len(there), -1)
    numbers[order] = np.arange(len(order))
    return Classes(wanted, numbers)


def cut_splits(builder: Any, config: DataConfig, classes: Classes) -> dict[str, Slice]:
    """Give the three splits, disjoint, and the same ones at every call.

    Raises ValueError when the source has no train split, a part would be empty, an example has no
    label, or a fraction cannot apply.
    """
    own = _own_splits(builder, config)
    _check_fractions(own, config, builder)
    if config.resplit:
        own = {"train": [split for part in PARTS for split in own.get(part, [])]}
    _check_labels(builder, own, config)
    pieces = {part: _pieces(builder, splits, classes) for part, splits in own.items()}
    shares = {part: share for part, share in _shares(config).items() if part not in own}
    if sum(shares.values()) >= 1:
        told = " and ".join(f"data.{part}_fraction {share}" for part, share in shares.items())
        raise ValueError(f"{told} leave nothing to train on: their sum must be below 1")
    if shares:
        pieces |= _cut(builder, own["train"], classes, shares)
    parts = {part: Slice(builder, tuple(pieces[part]), classes.numbers) for part in PARTS}
    if empty := [part for part, slice_ in parts.items() if not slice_.count]:
        sizes = {part: slice_.count for part, slice_ in parts.items()}
        raise ValueError(
            f"source {config.source} has too few examples ({sizes}): nothing left for {empty}"
        )
    return parts


def _own_splits(builder: Any, config: DataConfig) -> dict[str, list[str]]:
    """Give the source's splits by what they are for; several of one kind are joined."""
    found: dict[str, list[str]] = {}
    for name, split in builder.info.splits.items():
        part = split_named(name)
        if part is not None and split.num_examples:
            found.setdefault(part, []).append(name)
    if "train" not in found:
        there = ", ".join(builder.info.splits)
        raise ValueError(
            f"source {config.source} has the splits {there}; one named train is needed"
        )
    return found


def _shares(config: DataConfig) -> dict[str, float]:
    return {"test": config.test_share, "validation": config.validation_share}


def _check_fractions(own: Mapping[str, list[str]], config: DataConfig, builder: Any) -> None:
    """Refuse what would do nothing."""
    if config.resplit:
        if set(own) == {"train"}:
            raise ValueError(
                f"data.resplit joins a source's splits to cut them anew, and {config.source} has "
                "none but train, which is cut anyway: leave it out"
            )
        return
    given = {"test": config.test_fraction, "validation": config.validation_fraction}
    for part, fraction in given.items():
        if fraction is not None and part in own:
            count = sum(builder.info.splits[split].num_examples for split in own[part])
            raise ValueError(
                f"data.{part}_fraction {fraction} cannot apply: {config.source} has a {part} split "
                f"of its own, of {count} examples. Leave it out, or set data.resplit = true, which "
                "joins all splits and cuts them anew"
            )


def _check_labels(builder: Any, own: Mapping[str, list[str]], config: DataConfig) -> None:
    """Refuse examples without a label, which TFDS' own sets mark by -1."""
    if not config.source.startswith("tfds:"):
        return  # ours were looked at as they were prepared
    classes = builder.info.features["label"].num_classes
    for split in (split for splits in own.values() for split in splits):
        labels = index(builder, split)["label"]
        if wrong := int(((labels < 0) | (labels >= classes)).sum()):
            raise ValueError(
                f"source {config.source}: {wrong} of {len(labels)} examples of its split {split} "
                f"have no label of 0 to {classes - 1} (-1 stands for none); they can be neither "
                "trained on nor tested"
            )


def _pieces(builder: Any, splits: list[str], classes: Classes) -> list[Piece]:
    """Give the examples of whole splits that are of the job's classes."""
    rows = {split: np.arange(builder.info.splits[split].num_examples) for split in splits}
    if classes.are_selected:
        rows = {
            split: np.flatnonzero(_ours(index(builder, split)["label"], classes) >= 0)
            for split in splits
        }
    return [Piece(split, found) for split, found in rows.items() if len(found)]


def _ours(labels: np.ndarray, classes: Classes) -> np.ndarray:
    return labels if classes.numbers is None else classes.numbers[labels]


def _cut(
    builder: Any, splits: list[str], classes: Classes, shares: Mapping[str, float]
) -> dict[str, list[Piece]]:
    """Cut the examples of the splits into train and the parts that have a share."""
    pool = _pool(builder, splits)
    labels = _ours(pool.labels, classes)
    parts = draw(pool.places, labels, shares)
    lent = lend(pool.places, labels, parts, shares)
    if lent:
        _name(lent, pool, classes, parts, builder)
    return {
        part: [
            Piece(split, pool.rows[here])
            for split in splits
            if (here := (parts == part) & (pool.splits == split) & (labels >= 0)).any()
        ]
        for part in ("train", *shares)
    }


def _pool(builder: Any, splits: list[str]) -> Pool:
    found = [index(builder, split) for split in splits]
    return Pool(
        np.repeat(splits, [len(rows) for rows in found]),
        np.concatenate([np.arange(len(rows)) for rows in found]),
        np.concatenate([rows["place"] for rows in found]),
        np.concatenate([rows["label"] for rows in found]),
    )


def draw(places: np.ndarray, labels: np.ndarray, shares: Mapping[str, float]) -> np.ndarray:
    """Give the part of each example, str [N], by its place alone."""
    parts = np.full(len(labels), "train", dtype="<U10")
    for part, (low, high) in _spans(shares).items():
        parts[(places >= np.uint64(low)) & (places <= np.uint64(high - 1))] = part
    return parts


def lend(
    places: np.ndarray, labels: np.ndarray, parts: np.ndarray, shares: Mapping[str, float]
) -> list[int]:
    """Move an example into each part where its class has none, and give which were moved.

    It is the one whose place is nearest, of a part that keeps another; `parts` is changed. Classes
    of two examples have none in validation, and those of one are trained on alone.
    """
    spans = _spans(shares)
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    groups = np.split(order, starts) if len(order) else []
    moved = []
    for rows in (rows for rows in groups if len(rows) and labels[rows[0]] >= 0):
        wanted = ("train", *shares)[: len(rows)]
        for part in (part for part in wanted if part not in parts[rows]):
            found, counts = np.unique(parts[rows], return_counts=True)
            spare = [p for p, n in zip(found, counts, strict=True) if n > 1 or p not in wanted]
            row = _nearest(rows[np.isin(parts[rows], spare)], places, spans[part])
            parts[row] = part
            moved.append(row)
    return moved


def _nearest(rows: np.ndarray, places: np.ndarray, span: tuple[int, int]) -> int:
    def distance(row: int) -> int:
        place = int(places[row])
        return max(span[0] - place, place - span[1] + 1, 0)

    return min(map(int, rows), key=distance)


def _spans(shares: Mapping[str, float]) -> dict[str, tuple[int, int]]:
    """Give the places of each part: from the first to before the second."""
    spans, start = {}, 0
    for part, share in shares.items():
        end = start + int(share * WHOLE)
        spans[part] = (start, end)
        start = end
    return spans | {"train": (start, WHOLE)}


def _name(lent: list[int], pool: Pool, classes: Classes, parts: np.ndarray, builder: Any) -> None:
    """Say which examples went where their place would not have put them."""
    told = list(_told(lent[:MOST_NAMED], pool, parts, builder))
    more = f" and {len(lent) - MOST_NAMED} more" if len(lent) > MOST_NAMED else ""
    log.warning(
        "splits: of classes that drew none for a split, the nearest example was taken: %s%s",
        "; ".join(told), more,
    )  # fmt: skip


def _told(lent: list[int], pool: Pool, parts: np.ndarray, builder: Any) -> Iterator[str]:
    for row in lent:
        piece = Piece(str(pool.splits[row]), pool.rows[[row]])
        (example,) = Slice(builder, (piece,)).read().take(1).as_numpy_iterator()
        yield f"{example[KEY].decode()} in {parts[row]}"
