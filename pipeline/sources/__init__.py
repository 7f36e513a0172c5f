"""Data sources by the name that a job file gives them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.sources.digits import digits
from pipeline.sources.folder import folder
from pipeline.sources.idx import idx
from pipeline.sources.iris import iris
from pipeline.sources.source import SourceBuilder, prepare
from pipeline.sources.tfds import tfds_builder

OPENERS: dict[str, Callable[[str, Path], Any]] = {
    "digits": lambda place, data_dir: SourceBuilder(digits(), data_dir),
    "iris": lambda place, data_dir: SourceBuilder(iris(), data_dir),
    "idx": lambda place, data_dir: SourceBuilder(idx(place), data_dir),
    "folder": lambda place, data_dir: SourceBuilder(folder(place), data_dir),
    "tfds": tfds_builder,
}


def open_source(source: str, data_dir: Path) -> Any:
    """Give the prepared TFDS builder of a source such as "digits" or "folder:DIR"."""
    kind, _, place = source.partition(":")
    return prepare(OPENERS[kind](place, data_dir))
