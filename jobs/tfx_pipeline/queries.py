"""What of a source an ExampleGen reads, as the text that stands in a split's pattern; no tfx."""

import json
from dataclasses import dataclass
from urllib.parse import quote, unquote

from pipeline.config import DataConfig
from pipeline.dataset import SourceData, open_data

PLAIN = " {}[]:,/=*'()-_"  # no quotes: escaped, ML Metadata 1.21 cannot write them to PostgreSQL


@dataclass(frozen=True)
class Query:
    """One split of a source."""

    data: DataConfig
    split: str  # train, validation or test
    columns: tuple[str, ...]  # of metadata, which the Evaluator slices by
    version: str  # tells data of one source apart

    def to_text(self) -> str:
        """Give it as text."""
        data = self.data.model_dump(mode="json", by_alias=True, exclude_none=True)
        tree = {"data": data, "split": self.split, "columns": self.columns, "version": self.version}
        return quote(json.dumps(tree, sort_keys=True), safe=PLAIN)

    @classmethod
    def of_text(cls, text: str) -> "Query":
        """Read what `to_text` gave."""
        tree = json.loads(unquote(text))
        data = DataConfig.model_validate(tree["data"])
        return cls(data, tree["split"], tuple(tree["columns"]), tree["version"])

    def open(self) -> SourceData:
        """Prepare the source if need be, and open it. Raises ValueError when it is unsuitable."""
        return open_data(self.data)
