"""Versions on a disk and in memory, for tests of the registry."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving.errors import RequestError
from serving.model_settings import ModelSettings, Policy
from serving.registry import Registry
from serving.servable import Answer
from serving.signature import Signature
from serving.tensors import Array
from serving.version import State


class Memory:
    """A Servable in memory that only knows where it came from."""

    def __init__(self, directory: Path) -> None:
        self.signatures: Mapping[str, Signature] = {}
        self.definitions: Mapping[str, Any] = {}
        self.directory = directory
        self.closed = False

    def predict(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None = None
    ) -> dict[str, Array]:
        return {}

    def submit(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None, answer: Answer
    ) -> None:
        answer(self.predict(name, inputs, deadline))

    def close(self) -> None:
        self.closed = True


class Shelf:
    """Version directories, and a loader that refuses those with a file named broken."""

    def __init__(self, root: Path, name: str = "m") -> None:
        self.name = name
        self.base = root / name
        self.base.mkdir(parents=True)
        self.loaded: list[int] = []
        self.servables: dict[int, Memory] = {}

    def add(self, *numbers: int, broken: bool = False) -> None:
        for number in numbers:
            directory = self.base / str(number)
            directory.mkdir()
            (directory / ("broken" if broken else "fine")).touch()

    def remove(self, number: int) -> None:
        directory = self.base / str(number)
        for file in directory.iterdir():
            file.unlink()
        directory.rmdir()

    def load(self, directory: Path, model: str, version: int) -> Memory:
        self.loaded.append(int(directory.name))
        if (directory / "broken").exists():
            raise ValueError("a broken file")
        self.servables[int(directory.name)] = Memory(directory)
        return self.servables[int(directory.name)]

    def settings(self, policy: Policy | None = None, **labels: int) -> ModelSettings:
        return ModelSettings(self.name, self.base, policy or Policy(), labels)


def available(registry: Registry, name: str = "m") -> list[int]:
    found = registry.versions(name)
    return [version.number for version in found if version.state is State.AVAILABLE]


def served(shelf: Shelf, policy: Policy | None = None, **labels: int) -> Registry:
    """A registry that serves a shelf; labels not in use yet may come before their versions."""
    registry = Registry(shelf.load, lenient=True)
    registry.configure([shelf.settings(policy, **labels)])
    return registry


def refusal(registry: Registry, *which: Any) -> tuple[str, str]:
    with pytest.raises(RequestError) as caught:
        registry.find(*which)
    return caught.value.code, caught.value.message
