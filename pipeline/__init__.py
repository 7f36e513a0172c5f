"""From a data source to batches of tensors.

Importing it imports nothing else: `load` needs TensorFlow, and `DataConfig` pydantic.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import DataConfig
    from pipeline.dataset import Splits, load

__all__ = ["DataConfig", "Splits", "load"]


def __getattr__(name: str) -> Any:
    if name == "DataConfig":
        from pipeline.config import DataConfig

        return DataConfig
    if name in {"load", "Splits"}:
        from pipeline import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
