"""Simulated servers of a store, as those who wait for servers see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.repair import Lack, Wanted
from tests.support.reload_config import Production


@dataclass
class Fleet:
    """Servers that poll while they are waited for; `named` tells whether they can be asked."""

    servers: Sequence[Production]
    named: bool = True

    @property
    def addresses(self) -> Sequence[str]:
        return [f"server-{n}" for n, _ in enumerate(self.servers)] if self.named else []

    def ask(self, wanted: Wanted) -> list[Lack]:
        pairs = [(model, version) for model, versions in wanted.items() for version in versions]
        return [
            Lack(name, model, version, server.refusal, heard=server.knows(model, version))
            for name, server in zip(self.addresses, self.servers, strict=False)
            for model, version in pairs
            if version not in server.available.get(model, ())
        ]

    def wait(self, wanted: Wanted) -> list[Lack]:
        for server in self.servers:
            server.poll()
        return self.ask(wanted)
