"""From a data source to batches of tensors.

`load` imports TensorFlow only when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from pipeline.config import DataConfig

if TYPE_CHECKING:
    from pipeline.dataset import Splits, load

__all__ = ["DataConfig", "Splits", "load"]


def __getattr__(name: str) -> Any:
    if name in {"load", "Splits"}:
        from pipeline import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
