"""Ed25519 signatures of versions, which say who made them, and as what.

A signature covers the model's name, the version's number and the manifest's digest, and the
manifest every other file: a copy under another name or number is not signed. Which versions are to
be served says a signed configuration (`signed_config`). `openssl pkeyutl -verify -rawin` checks a
statement too. `cryptography` is imported where it is needed, for most users never sign.
"""

import hashlib
import logging
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serving import manifest
from serving.errors import ConfigError, StoreError
from serving.manifest import SIGNATURE

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

PRIVATE = "signing_key.pem"  # PKCS #8, as openssl genpkey writes it
PUBLIC = "public_key.pem"
BLOCK = re.compile(rb"-----BEGIN [^-]+-----.*?-----END [^-]+-----", re.DOTALL)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signer:
    """Signs versions with a private key."""

    key: "Ed25519PrivateKey"

    def sign(self, directory: Path, model: str, version: int) -> bytes:
        """Return the signature (64 bytes) of a version's manifest. Raises StoreError."""
        return self.key.sign(statement(model, version, manifest.read(directory)))

    def verifier(self) -> "Verifier":
        """Return what verifies its signatures."""
        return Verifier((self.key.public_key(),), Path(PRIVATE))


@dataclass(frozen=True)
class Verifier:
    """Tells versions signed by one of the trusted keys from all others."""

    keys: tuple["Ed25519PublicKey", ...]
    origin: Path  # the file they come from, for messages

    def accepts(self, signature: bytes, signed: bytes) -> bool:
        """Return whether it is the signature of those bytes by a trusted key."""
        from cryptography.exceptions import InvalidSignature

        for key in self.keys:
            with suppress(InvalidSignature):
                key.verify(signature, signed)
                return True
        return False

    def verify(self, directory: Path, model: str, version: int, into: Path | None = None) -> None:
        """Raise StoreError unless a trusted key signed the directory as that version, whole.

        Each file is read once; `into` takes a copy of what was read, and nothing else.
        """
        signed = partial(self._check, directory, model, version)
        manifest.verify(directory, signed, into)

    def _check(self, directory: Path, model: str, version: int, listed: bytes) -> None:
        try:
            signature = b"".join(manifest.contents(directory / SIGNATURE))
        except FileNotFoundError:
            raise StoreError(
                f"{directory} is not signed: it has no {SIGNATURE}. Set publish.signing_key in its "
                "job, or sign it with convoy models sign"
            ) from None
        if self.accepts(signature, statement(model, version, listed)):
            return
        if self.accepts(signature, listed):
            raise StoreError(
                f"{directory} is signed as Convoy 0.1 did, without its name and number; sign it "
                "anew with convoy models sign"
            )
        raise StoreError(
            f"{directory} is signed with another key than {self.origin} or as another version than "
            f"{model} {version}, or was changed since"
        )


def statement(model: str, version: int, listed: bytes) -> bytes:
    """Return what is signed of a version whose manifest is `listed`."""
    digest = hashlib.sha256(listed).hexdigest()
    return f"convoy version\n{model}\n{version}\n{digest}\n".encode()


def read_signer(path: Path) -> Signer:
    """Read a private Ed25519 key, a PEM file without a passphrase. Raises ConfigError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, "private")
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:  # how cryptography says that a passphrase is missing
        raise ConfigError(
            f"{path} has a passphrase, which nobody is there to type in an unattended run; give a "
            "key without one, such as convoy models keygen makes"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(_unfit(path, "private", content)) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(_unfit(path, "private", content))
    if path.stat().st_mode & 0o077:
        log.warning("other users can read the private key %s; make it 0600", path)
    return Signer(key)


def read_verifier(path: Path) -> Verifier:
    """Read the trusted public keys: one or more PEM blocks in a file. Raises ConfigError.

    Several of them let a key be replaced: trust the old and the new one for a while.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path, "public")
    try:
        keys = tuple(load_pem_public_key(block) for block in BLOCK.findall(content))
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(_unfit(path, "public", content)) from None
    trusted = tuple(key for key in keys if isinstance(key, Ed25519PublicKey))
    if not trusted or len(trusted) < len(keys):
        raise ConfigError(_unfit(path, "public", content))
    return Verifier(trusted, path)


def generate(directory: Path) -> tuple[Path, Path]:
    """Write a new pair of keys, the private one readable by its owner alone, and give their paths.

    Raises ConfigError when the directory holds one of them already: versions are signed with it.
    """
    from cryptography.hazmat.primitives import serialization as pem
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = directory / PRIVATE, directory / PUBLIC
    if there := [path for path in (private, public) if path.exists()]:
        raise ConfigError(
            f"{there[0]} is there already, and versions may be signed with it; choose another "
            "directory for the new pair"
        )
    key = Ed25519PrivateKey.generate()
    hidden = pem.NoEncryption()
    secret = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, hidden)
    open_ = key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)
    directory.mkdir(parents=True, exist_ok=True)
    _create(private, secret, 0o600)
    _create(public, open_, 0o644)
    return private, public


def _read(path: Path, kind: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise ConfigError(
            f"cannot read the {kind} key {path}: {reason}. convoy models keygen makes a pair"
        ) from None


def _unfit(path: Path, wanted: str, content: bytes) -> str:
    found = re.search(rb"-----BEGIN ([A-Z0-9 ]+)-----", content)
    received = f"a PEM file with {found[1].decode()}" if found else "no PEM file"
    return (
        f"{path} must hold an Ed25519 {wanted} key in PEM; it is {received} without one. convoy "
        f"models keygen makes {PRIVATE} to sign with and {PUBLIC} to verify with"
    )


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that never had wider permissions than `mode`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
