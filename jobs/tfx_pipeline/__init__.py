"""A job as a TFX pipeline: the only place that imports tfx, and only when it is first asked for."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.tfx_pipeline.assembly import create_pipeline

__all__ = ["create_pipeline"]


def __getattr__(name: str) -> Any:
    if name == "create_pipeline":
        from jobs.tfx_pipeline import assembly

        return assembly.create_pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
