"""A source of labelled examples and the TFDS builder that prepares it.

Every source, ours or TFDS' own, ends as a `tfds.core.DatasetBuilder`, so that the rest of the
pipeline sees splits, features, label names and a version, and nothing else.
"""

import contextlib
import io
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

Examples = Callable[[], Iterator[tuple[str, dict[str, Any]]]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """Examples that are not prepared yet."""

    name: str  # an identifier: it becomes a directory
    digest: str  # sha256 of the content: the same content is never prepared twice
    features: Mapping[str, Any]  # TFDS features; one is "label"
    splits: Mapping[str, Examples]  # split name -> examples as (unique key, example)


with tfds.core.registered.skip_registration():

    class SourceBuilder(tfds.core.GeneratorBasedBuilder):
        """Writes a `Source` as a TFDS data set, in a directory named by its digest."""

        VERSION = tfds.core.Version("1.0.0")

        def __init__(self, source: Source, data_dir: Path) -> None:
            self.name = source.name
            self._source = source
            version = tfds.core.BuilderConfig(name=source.digest[:16], version=self.VERSION)
            super().__init__(data_dir=data_dir, config=version)

        def _info(self) -> Any:
            features = tfds.features.FeaturesDict(dict(self._source.features))
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {name: examples() for name, examples in self._source.splits.items()}

        def _generate_examples(self) -> Any:
            raise NotImplementedError("splits carry their own generators")


def prepare(builder: Any) -> Any:
    """Write the builder's data unless it is there already, and return the builder.

    TFDS writes beside the final place and renames, so an interrupted preparation leaves nothing
    that a later one would take for data.
    """
    if not Path(builder.data_dir).exists():
        log.info("preparing %s in %s", builder.info.full_name, builder.data_dir)
    tfds.display_progress_bar(sys.stderr.isatty())
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints; stdout belongs to the caller
        builder.download_and_prepare()
    return builder
