"""Arguments and options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.exits import CommandError

if TYPE_CHECKING:
    from jobs.settling import Settling
    from serving.options import TLS
    from serving.seal import Signer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="Job file (TOML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one setting, such as train.epochs=5."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout at the end.")]
Runs = Annotated[Path, typer.Option(help="Where run directories are made.")]
StoreDir = Annotated[Path, typer.Option(help="The model store's directory.")]
Ca = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Speak TLS; who signed the server's certificate (PEM), "
        'or "system" for the system\'s authorities.',
    ),
]
Certificate = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Our certificate (PEM), for mutual TLS.")
]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="The certificate's key (PEM).")]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--servers",
        metavar="HOST:PORT",
        help="gRPC address of a server to ask whether it has the version; may be repeated. "
        "Without any, time passes instead.",
    ),
]
SettleSeconds = Annotated[
    float,
    typer.Option(
        min=0, help="Seconds for servers to poll the store and load; 0 where none polls it."
    ),
]
SigningKey = Annotated[
    Path | None,
    typer.Option(
        "--signing-key",
        metavar="PRIVATE_KEY",
        envvar="CONVOY_SIGNING_KEY",
        help="Signs what servers are told; a store whose configuration is signed asks for it.",
    ),
]
LoadSeconds = Annotated[
    float, typer.Option(min=0, help="Seconds that named servers get to load it.")
]


def tls(ca: str | None, certificate: Path | None, key: Path | None) -> "TLS | None":
    """Give whom to trust and how to prove who is calling; None without TLS."""
    from serving.options import TLS

    if (certificate is None) != (key is None):
        raise CommandError("--certificate and --key belong together: give both or neither")
    if ca is None and certificate is not None:
        raise CommandError("--certificate needs TLS: give --ca FILE too, or --ca system")
    if ca is None:
        return None
    return TLS(None if ca == "system" else ca, key, certificate)


def signer(path: Path | None) -> "Signer | None":
    """Read the key to sign with; None without one."""
    from serving.errors import ConfigError
    from serving.seal import read_signer

    try:
        return read_signer(path) if path else None
    except ConfigError as problem:
        raise CommandError(str(problem)) from None


def settling(
    servers: list[str] | None, settle_seconds: float, load_seconds: float, tls: "TLS | None" = None
) -> "Settling":
    """Give what is waited for before a label moves."""
    from jobs.settling import Settling

    for address in servers or ():
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise CommandError(f"--servers {address}: expected HOST:PORT, such as localhost:8500")
    return Settling(tuple(servers or ()), settle_seconds, load_seconds, tls)
