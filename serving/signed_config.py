"""The signature of models.config, which names the versions that may be served, and its counter.

models.config.sig has a line for the file as it is and, while it is replaced, one for the file as it
was: a counter, the file's sha256 and an Ed25519 signature of both. TensorFlow Serving reads the
configuration alone. Without the counter an older file could be put back, and a version that was
withdrawn with it (The Update Framework calls that a rollback attack).
"""

import base64
import binascii
import hashlib
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from serving import manifest, permissions
from serving.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from serving.seal import Signer, Verifier

SUFFIX = ".sig"
NOTHING = b"model_config_list {\n}\n"  # what a new store serves, before anything is signed
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """What was signed of a configuration."""

    counter: int
    digest: str  # sha256, hex
    signature: bytes

    @property
    def statement(self) -> bytes:
        return f"convoy models.config\n{self.counter}\n{self.digest}\n".encode()

    def __str__(self) -> str:
        return f"{self.counter} {self.digest} {base64.b64encode(self.signature).decode()}"

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a line. Raises ValueError."""
        counter, digest, signature = text.split(" ")
        if not (counter.isascii() and counter.isdecimal() and len(counter) < 20):
            raise ValueError(text)
        return cls(int(counter), digest, base64.b64decode(signature, validate=True))


def is_signed(config: Path) -> bool:
    """Return whether a configuration has, or had, a signature."""
    return os.path.lexists(_beside(config))


def sign(config: Path, text: bytes, signer: "Signer") -> None:
    """Sign what a configuration is about to hold; what it holds now stays signed until then."""
    before = [line for line in _lines(config) if line.digest == _digest(_read(config))]
    counter = max([int(time.time()), *(line.counter + 1 for line in _lines(config))])
    line = Line(counter, _digest(text), b"")
    line = Line(counter, line.digest, signer.key.sign(line.statement))
    fresh = _beside(config).with_name(f"{_beside(config).name}.new")
    fresh.unlink(missing_ok=True)
    with fresh.open("w") as file:
        file.write("".join(f"{line}\n" for line in (line, *before[:1])))
        file.flush()
        os.fsync(file.fileno())
    permissions.widen(fresh)
    fresh.replace(_beside(config))


class SignedConfig:
    """Reads a configuration as often as it is asked to, and never one older than before.

    `state`: a file that keeps the counter beyond this process. Raises ConfigError when it holds
    something else.
    """

    def __init__(self, config: Path, verifier: "Verifier", state: Path | None = None) -> None:
        self._config, self._verifier, self._state = config, verifier, state
        self._counter = _read_state(state) if state else 0

    def read(self) -> str:
        """Return the text. Raises ConfigError when it is not signed, or older than one taken."""
        try:
            text = b"".join(manifest.contents(self._config))
            line = self._signed(text)
            if line.counter < self._counter:
                raise ConfigError(
                    f"{self._config} is older than one that was in force: its counter is "
                    f"{line.counter}, {self._counter} was taken"
                )
            if self._state and line.counter > self._counter:
                _write_state(self._state, line.counter)
            self._counter = line.counter
            return text.decode()
        except (OSError, UnicodeDecodeError, StoreError) as error:
            raise ConfigError(f"cannot read {self._config}: {error}") from None

    def _signed(self, text: bytes) -> Line:
        digest = _digest(text)
        if text == NOTHING and not self._counter and not is_signed(self._config):
            return Line(0, digest, b"")
        for line in _lines(self._config):
            if line.digest == digest and self._verifier.accepts(line.signature, line.statement):
                return line
        raise ConfigError(
            f"{self._config} is not signed with a key of {self._verifier.origin}, or was changed "
            "since. convoy models sign, and every command with --signing-key, signs it"
        )


def _lines(config: Path) -> list[Line]:
    """The lines that can be read; a broken one signs nothing."""
    found = []
    for text in _read(_beside(config)).decode("ascii", "replace").splitlines():
        with suppress(ValueError, binascii.Error):
            found.append(Line.read(text))
    return found


def _read(path: Path) -> bytes:
    try:
        return b"".join(manifest.contents(path))
    except (FileNotFoundError, StoreError):
        return b""


def _read_state(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return 0
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from None
    if not text.isdecimal() or len(text) >= 20:
        raise ConfigError(f"{path} must hold a counter of models.config, a number; got {text!r}")
    return int(text)


def _write_state(path: Path, counter: int) -> None:
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("w") as file:
        file.write(f"{counter}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _beside(config: Path) -> Path:
    return config.with_name(config.name + SUFFIX)
