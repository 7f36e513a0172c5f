"""Publishing as commands do it, both writes, where no server has to be waited for."""

from pathlib import Path

from serving.store import Store


def put_in_service(store: Store, name: str, export: Path, label: str = "stable") -> int:
    """Publish a version, move the label to it and return it."""
    version = store.publish(name, export, label)
    store.settle(name)
    return version
