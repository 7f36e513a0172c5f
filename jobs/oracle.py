"""Where the chief of a search is, and which worker this is, by KerasTuner's variables."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.exits import ConfigError

TUNER_ID = "KERASTUNER_TUNER_ID"
IP, PORT = "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"
CHIEF = "chief"  # in a tuner id, it makes KerasTuner's own programs take themselves for the chief


@dataclass(frozen=True)
class Post:
    """A process's place in a search on several hosts."""

    address: str  # of the chief, HOST:PORT
    worker: str | None  # this worker's name; None is the chief

    @property
    def host(self) -> str:
        """The chief's host alone."""
        return self.address.rpartition(":")[0]


def read_post(environment: Mapping[str, str], chief: bool) -> Post:
    """Read KerasTuner's variables. Raises ConfigError that names the one which is wrong."""
    host, port = environment.get(IP, ""), environment.get(PORT, "")
    if not host or not port:
        raise ConfigError(
            f"{IP} and {PORT} must name the chief's address, got {host!r} and {port!r}. Set them "
            f"for the chief and for every worker, such as {IP}=10.0.0.7 {PORT}=8000"
        )
    if not port.isdecimal() or int(port) > 65535 or (not chief and port == "0"):
        lowest = "0 (a free one)" if chief else "1"
        raise ConfigError(f"{PORT} must be a port from {lowest} to 65535, got {port!r}")
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Post(address, None if chief else _worker(environment.get(TUNER_ID, "")))


def _worker(name: str) -> str:
    if not name or "~" in name or CHIEF in name:
        raise ConfigError(
            f"{TUNER_ID} must name this worker, got {name!r}. Allowed: any text without "
            f'"{CHIEF}" and "~", the same after every start and no other worker\'s, such as '
            f"{TUNER_ID}=worker0"
        )
    return name
