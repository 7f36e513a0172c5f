"""Data sources by the name that a job file gives them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import copies
from pipeline.sources.csv import csv_manifest
from pipeline.sources.digits import digits
from pipeline.sources.folder import folder
from pipeline.sources.idx import idx
from pipeline.sources.iris import iris
from pipeline.sources.npz import npz
from pipeline.sources.source import Source, SourceBuilder, prepare
from pipeline.sources.tfds import tfds_builder
from pipeline.sources.tfrecord import tfrecord

SOURCES: dict[str, Callable[[str, Path], Source]] = {
    "digits": lambda place, data_dir: digits(),
    "iris": lambda place, data_dir: iris(),
    "idx": idx,
    "folder": folder,
    "csv": csv_manifest,
    "npz": npz,
    "tfrecord": tfrecord,
}


def open_source(source: str, data_dir: Path, beam_options: tuple[str, ...] = ()) -> Any:
    """Give the prepared TFDS builder of a source such as "digits" or "folder:DIR".

    `beam_options` are flags for the Apache Beam runner of those TFDS sets that are made with it.
    Raises ValueError when the source is missing or unsuitable, or cannot be read.
    """
    kind, _, place = source.partition(":")
    if kind == "tfds":
        return prepare(tfds_builder(place, data_dir), beam_options)
    try:
        opened = SOURCES[kind](place, data_dir)
    except OSError as problem:
        raise ValueError(
            f"source {kind}: cannot read {problem.filename or place}: {problem.strerror}"
        ) from None
    builder = SourceBuilder(opened, data_dir)
    copies.hold(Path(builder.data_dir))
    return prepare(builder)
