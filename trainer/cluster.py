"""Which processes train together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """The workers of one training, the chief first, and which of them this process is."""

    workers: tuple[str, ...]  # HOST:PORT of each
    index: int

    @property
    def is_chief(self) -> bool:
        return self.index == 0
