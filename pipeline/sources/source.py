"""A source of labelled examples and the TFDS builder that prepares it.

Every source, ours or TFDS' own, ends as a `tfds.core.DatasetBuilder`, so that the rest of the
pipeline sees splits, features, label names and a version, and nothing else.
"""

import contextlib
import io
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from pipeline.listing import LeftOut
from pipeline.lock import locked
from pipeline.sources.examination import Examination, Quarantine
from pipeline.whole import clear

Examples = Callable[[], Iterator[tuple[str, dict[str, Any]]]]
KEY = "key"  # the feature that says which file or row an example came from
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Examples that are not prepared yet."""

    name: str  # an identifier: it becomes a directory
    digest: str  # sha256 of the content: the same content is never prepared twice
    features: Mapping[str, Any]  # TFDS features; one is "label"
    splits: Mapping[str, Examples]  # split name -> examples as (key, example)
    examination: Examination = field(default_factory=Examination)  # of encoded images
    passed_over: LeftOut | None = None  # files beside those of the examples; None: no directory


with tfds.core.registered.skip_registration():

    class SourceBuilder(tfds.core.GeneratorBasedBuilder):
        """Writes a `Source` as a TFDS data set, in a directory named by its digest."""

        VERSION = tfds.core.Version("1.3.0")  # raise it when what is stored changes

        def __init__(self, source: Source, data_dir: Path) -> None:
            self.name = source.name
            self._source = source
            self.passed_over = source.passed_over
            self._config = tfds.core.BuilderConfig(name=source.digest[:16], version=self.VERSION)
            super().__init__(data_dir=data_dir, config=self._config)

        def get_builder_config(self, name: str, version: Any = None) -> Any:
            return self._config  # the only one; TFDS warns of configurations it does not know

        def download_and_prepare(self, **settings: Any) -> None:
            """Write the set; what is found of its images survives an interruption."""
            place = Path(self.data_dir)
            notes = place.with_name(f".{place.name}.examined")
            with self._source.examination.noted_in(notes):
                super().download_and_prepare(**settings)

        def _info(self) -> Any:
            features = {**self._source.features, KEY: tfds.features.Text()}
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                metadata=tfds.core.MetadataDict(quarantine=self._source.examination.quarantine),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {name: _with_keys(examples) for name, examples in self._source.splits.items()}

        def _generate_examples(self) -> Any:
            raise NotImplementedError("splits carry their own generators")


def split_named(word: str) -> str | None:
    """Give the split that people call so, in any case: train, validation or test; else None."""
    return SPLIT_WORDS.get(word.strip().lower())


def _with_keys(examples: Examples) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each example its key, and TFDS, which takes each key once, one of its own."""
    times: Counter[str] = Counter()
    for key, example in examples():
        times[key] += 1
        again = f"\0{times[key]}" if times[key] > 1 else ""  # listed twice: the check's business
        yield f"{key}{again}", {**example, KEY: key}


def prepare(builder: Any, beam_options: tuple[str, ...] = ()) -> Any:
    """Write the builder's data unless it is there already, and return the builder.

    TFDS writes beside the final place and renames, so an interrupted preparation leaves nothing
    that a later one would take for data; what it left is removed, and what it found of the images
    is taken over. Of several processes one writes and the others wait. `beam_options` are flags for
    a Beam-based set's runner.
    """
    place = Path(builder.data_dir)
    if place.exists():
        return builder
    with locked(place.parent / f".{place.name}.lock"):
        if place.exists():  # another process wrote it, while this one waited for the lock
            builder.info.read_from_directory(place)
            return builder
        for litter in place.parent.glob(f"{tfds.core.constants.INCOMPLETE_PREFIX}*_{place.name}"):
            clear(litter)
        _write(builder, beam_options)
    return builder


def _write(builder: Any, beam_options: tuple[str, ...]) -> None:
    log.info("preparing %s in %s", builder.info.full_name, builder.data_dir)
    settings = tfds.download.DownloadConfig(beam_options=_beam_options(beam_options))
    tfds.display_progress_bar(sys.stderr.isatty())
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; stdout belongs to the caller
        builder.download_and_prepare(download_config=settings)


def quarantined(builder: Any) -> Quarantine:
    """Give the files that a prepared source left out because they do not decode."""
    metadata = builder.info.metadata or {}
    found: Quarantine = metadata.get("quarantine", [])
    return found


def passed_over(builder: Any) -> LeftOut | None:
    """Give the files in a source's directory that are none of its examples; None without one."""
    found: LeftOut | None = getattr(builder, "passed_over", None)  # TFDS' own know nothing of it
    return found


def _beam_options(flags: tuple[str, ...]) -> Any:
    if not flags:
        return None
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise ValueError(
            "data.beam_options needs Apache Beam, which is not installed: pip install apache-beam"
        ) from None
    return PipelineOptions(list(flags))
