"""Servers asked whether they serve a new version, and answer as the trainer did."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from jobs import caller
from jobs.golden import LIMIT, Golden
from jobs.settling import AVAILABLE
from serving.client import TLS, Client, Options
from serving.errors import CallError

ASK_AGAIN_SECONDS = 0.5
ONCE = Options(timeout=10.0, retries=0)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probe:
    """What is asked of every server, and for how long."""

    model: str
    version: int
    golden: Golden
    seconds: float  # until the last server must have answered
    check: Callable[[], None]  # called between questions; raises to give up
    tls: TLS | None = None

    def ask(self, addresses: tuple[str, ...]) -> list[str]:
        """Ask servers (HOST:PORT) until all serve the version; give what is wrong, in words."""
        deadline = time.monotonic() + self.seconds
        return [fault for address in addresses if (fault := self._ask(address, deadline))]

    def _ask(self, address: str, deadline: float) -> str:
        with Client(address, ONCE, self.tls, caller.metadata()) as client:
            while True:
                self.check()
                try:
                    gap = self.golden.gap(client, self.model, self.version)
                    # The state is what a server looks at when the label is to move there.
                    state = client.status(self.model, self.version)[0].state
                    problem = "" if state == AVAILABLE else state
                except CallError as refusal:
                    problem = str(refusal)
                if not problem:
                    return self._judge(address, gap)
                if time.monotonic() > deadline:
                    return (
                        f"{address} does not serve {self.model} version {self.version} after "
                        f"{self.seconds:.0f} s: {problem}"
                    )
                time.sleep(ASK_AGAIN_SECONDS)

    def _judge(self, address: str, gap: float) -> str:
        if gap <= LIMIT:
            log.info("%s serves version %d, off by %.1g", address, self.version, gap)
            return ""
        return (
            f"{address} answers otherwise than the trained network: probabilities of version "
            f"{self.version} differ by up to {gap:.2g}, allowed are {LIMIT:.0e}"
        )
