"""Servers given time to load a version before a label moves there, or asked whether they have."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from jobs import caller
from serving.client import TLS, Client, Options
from serving.errors import CallError, ModelNotFound
from serving.repair import Lack, Wanted

ASK_AGAIN_SECONDS = 0.5
ANSWER_SECONDS = 10.0
SETTLE_SECONDS = 30.0  # three polls of a server that looks every 10 s
LOAD_SECONDS = 300.0  # polling a store and loading a large model
AVAILABLE = "AVAILABLE"


def _go_on() -> None:
    """Give up nothing."""


@dataclass(frozen=True)
class Settling:
    """What is waited for between the two writes that move a label; see serving.store.

    Servers that are named are asked (GetModelStatus) until all have the versions; where none is,
    time passes. `check` is called meanwhile, and raises to give up.
    """

    addresses: tuple[str, ...] = ()  # HOST:PORT, gRPC
    settle_seconds: float = SETTLE_SECONDS  # above the servers' poll interval
    load_seconds: float = LOAD_SECONDS
    tls: TLS | None = None
    check: Callable[[], None] = _go_on
    sleep: Callable[[float], None] = time.sleep

    def ask(self, wanted: Wanted) -> list[Lack]:
        """Return what the named servers lack now."""
        return [lack for address in self.addresses for lack in self._ask(address, wanted)]

    def wait(self, wanted: Wanted) -> list[Lack]:
        """Give servers time, and return what they lack then: nothing, if none is named.

        One that has not heard of a version after `settle_seconds` has refused the file, and will.
        """
        if not self.addresses:
            self._pause(self.settle_seconds)
            return []
        began, passed = time.monotonic(), 0.0
        while lacks := self.ask(wanted):
            refused = any(lack.reached and not lack.heard for lack in lacks)
            if passed >= (self.settle_seconds if refused else self.load_seconds):
                break
            self._pause(ASK_AGAIN_SECONDS)
            passed = max(passed + ASK_AGAIN_SECONDS, time.monotonic() - began)
        return lacks

    def _pause(self, seconds: float) -> None:
        left = seconds
        while left > 0:
            self.check()
            self.sleep(min(left, ASK_AGAIN_SECONDS))
            left -= ASK_AGAIN_SECONDS

    def _ask(self, address: str, wanted: Wanted) -> list[Lack]:
        options = Options(timeout=ANSWER_SECONDS, retries=0)
        with Client(address, options, self.tls, caller.metadata()) as client:
            found = [_lacks(client, name, set(wanted[name])) for name in wanted]
        return [lack for lacks in found for lack in lacks]


def _lacks(client: Client, model: str, versions: set[int]) -> list[Lack]:
    """Return which versions of a model a server lacks, and why."""
    try:
        states = {status.version: status for status in client.status(model)}
    except ModelNotFound as problem:
        return [Lack(client.address, model, v, problem.details) for v in sorted(versions)]
    except CallError as problem:
        text = str(problem)
        return [Lack(client.address, model, v, text, reached=False) for v in sorted(versions)]
    lacks = []
    for version in sorted(versions):
        if (status := states.get(version)) is None:
            lacks.append(Lack(client.address, model, version, "it was not told to, or refuses to"))
        elif status.state != AVAILABLE:
            reason = f"{status.state} {status.error}".strip()
            lacks.append(Lack(client.address, model, version, reason, heard=True))
    return lacks
