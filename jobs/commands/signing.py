"""`convoy models keygen`, `sign`, `verify`: who made a version, and whether it is still whole."""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import console, options
from jobs.exits import FAILED, CommandError

if TYPE_CHECKING:
    from serving.seal import Verifier
    from serving.store import Store

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
Version = Annotated[
    int | None, typer.Argument(metavar="[VERSION]", help="Without it, every version.")
]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Where the pair of keys goes.")]
PrivateKey = Annotated[
    Path, typer.Option("--key", metavar="PRIVATE_KEY", help="The key to sign with.")
]
PublicKey = Annotated[
    Path | None,
    typer.Option("--key", metavar="PUBLIC_KEY", help="Also require a signature by this key."),
]
Caller = Annotated[
    str, typer.Argument(metavar="NAME", help="A caller's name, for logs and metrics.")
]
TokensFile = Annotated[
    Path, typer.Option("--tokens", metavar="FILE", help="What servers take as --tokens.")
]
STORE = Path("models")


@dataclass(frozen=True)
class Finding:
    """What is known of a version's files; `problem` is empty where nothing is wrong."""

    version: int
    intact: bool
    signed: bool  # by the given key, or at all where none is given
    problem: str


def keygen(directory: Directory, json: options.Json = False) -> None:
    """Make a pair of Ed25519 keys: one to sign versions with, one for servers to verify with."""
    from serving.errors import ConfigError
    from serving.seal import generate

    try:
        private, public = generate(directory)
    except ConfigError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({"private": str(private), "public": str(public)})
        return
    console.stdout.print(f"private key, to keep secret: {private}", soft_wrap=True)
    console.stdout.print(f"public key, for servers: {public}", soft_wrap=True)


def token(name: Caller, file: TokensFile, json: options.Json = False) -> None:
    """Make a bearer token for a caller of servers: its SHA-256 joins FILE, and it is shown once."""
    from serving.access import digest, read_tokens
    from serving.errors import ConfigError

    made = secrets.token_urlsafe(32)
    try:
        if file.exists() and name in read_tokens(file):
            raise CommandError(f"{file} has a token of {name}: remove its line first")
        with file.open("a", encoding="utf-8") as lines:
            lines.write(f"{name} {digest(made)}\n")
    except ConfigError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({"name": name, "token": made})
    else:
        console.stdout.print(made, soft_wrap=True)


def sign(
    name: Name,
    key: PrivateKey,
    version: Version = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Sign versions that are in the store already, or sign them anew with another key.

    Signs models.config too: what is served changes with a key alone from then on.
    """
    from serving.errors import ServingError
    from serving.seal import read_signer
    from serving.store import Store

    found = Store(store)
    try:
        signer, chosen = read_signer(key), _chosen(found, name, version)
        for number in chosen:
            found.sign(name, number, signer)
        found.sign_config(signer)
    except ServingError as problem:
        raise CommandError(str(problem)) from None
    if json:
        console.print_json({"name": name, "signed": chosen})
    else:
        console.stdout.print(f"{name}: signed {', '.join(map(str, chosen))}")


def verify(
    name: Name,
    version: Version = None,
    key: PublicKey = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Compare versions with their manifests and, with --key, their signatures. Exit 1 if any fails.

    With --key, models.config must be signed as well.
    Without --key, what is signed is not known to be signed by anyone in particular.
    """
    from serving.errors import ServingError
    from serving.seal import read_verifier
    from serving.store import Store

    found = Store(store)
    try:
        verifier = read_verifier(key) if key else None
        findings = [_examine(found, name, v, verifier) for v in _chosen(found, name, version)]
    except ServingError as problem:
        raise CommandError(str(problem)) from None
    unsigned = _unsigned(found, verifier)
    if json:
        told = {"name": name, "versions": [asdict(finding) for finding in findings]}
        console.print_json(told | {"configuration": unsigned})
    else:
        rows = [
            [f.version, _word(f.intact), _word(f.signed), f.problem or "none"] for f in findings
        ]
        console.print_table(name, ["version", "intact", "signed", "problem"], rows)
    if bad := [finding.version for finding in findings if finding.problem]:
        failed = ", ".join(map(str, bad))
        raise CommandError(f"{name}: {len(bad)} of {len(findings)} failed: {failed}", FAILED)
    if unsigned:
        raise CommandError(unsigned, FAILED)


def _chosen(store: "Store", name: str, version: int | None) -> list[int]:
    """Give the version that is named, or all there are. Raises StoreError when there is none."""
    if version is not None:
        store.path(name, version)
        return [version]
    versions = store.versions(name)
    if not versions:
        raise CommandError(f"{store.root} has no version of {name}. Models: {_known(store)}")
    return versions


def _known(store: "Store") -> str:
    return ", ".join(store.names()) or "none"


def _examine(store: "Store", name: str, version: int, verifier: "Verifier | None") -> Finding:
    from serving.errors import StoreError
    from serving.manifest import SIGNATURE

    path, problems = store.path(name, version), []
    intact, signed = True, (path / SIGNATURE).is_file()
    try:
        store.verify(name, version)
    except StoreError as problem:
        intact = False
        problems.append(str(problem))
    try:
        if verifier and intact:
            verifier.verify(path, name, version)
    except StoreError as problem:
        signed = False
        problems.append(str(problem))
    return Finding(version, intact, signed, "; ".join(problems))


def _unsigned(store: "Store", verifier: "Verifier | None") -> str:
    """Say what is wrong with the configuration's signature; "" where it is right or not asked."""
    from serving.catalog import CONFIG
    from serving.errors import ConfigError
    from serving.signed_config import SignedConfig

    try:
        if verifier:
            SignedConfig(store.root / CONFIG, verifier).read()
    except ConfigError as problem:
        return str(problem)
    return ""


def _word(truth: bool) -> str:
    return "yes" if truth else "no"
