"""Settings that would do nothing, which are refused: who sets one expects a difference."""

from collections.abc import Iterable

from pydantic import BaseModel


def changed(config: BaseModel, names: Iterable[str]) -> list[str]:
    """Give the fields among `names` that are not at their default."""
    fields = type(config).model_fields
    return [
        name
        for name in names
        if getattr(config, name) != fields[name].get_default(call_default_factory=True)
    ]


def refuse(config: BaseModel, names: Iterable[str], reason: str) -> None:
    """Raise ValueError for fields that are not at their default; `reason` says why they idle."""
    if found := changed(config, names):
        does = "do" if len(found) > 1 else "does"
        raise ValueError(f"{', '.join(found)} {does} nothing here: {reason}")
