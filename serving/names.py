"""What models and labels may be called: both become parts of paths, files and addresses."""

import re

from serving import catalog
from serving.errors import StoreError

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def is_model(name: str) -> bool:
    """Tell whether a model may have this name."""
    return bool(_MODEL.fullmatch(name)) and not name.startswith(catalog.CONFIG)


def check_model(name: str) -> None:
    """Raise StoreError when a model may not have this name."""
    if not is_model(name):
        raise StoreError(
            f"{name!r} is no model name: up to 128 letters, digits, '_', '-' and '.', "
            f"the first a letter or digit, and not {catalog.CONFIG}"
        )


def check_label(label: str) -> None:
    """Raise StoreError when a label may not be called this."""
    if not _LABEL.fullmatch(label):
        raise StoreError(
            f"{label!r} is no label: up to 64 letters, digits, '_', '-' and '.', "
            "the first a letter or digit"
        )
