"""`convoy models rollback`, `promote`, `label`, `withdraw`, `repair`: what is in service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import console, options
from jobs.exits import FAILED, CommandError

if TYPE_CHECKING:
    from jobs.settling import Settling
    from serving.repair import Repaired
    from serving.store import Store

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name.")]
Label = Annotated[str, typer.Argument(metavar="LABEL", help='A label, such as "stable".')]
Version = Annotated[int, typer.Argument(metavar="VERSION", help="A version in the store.")]
Reason = Annotated[str, typer.Option(help="Why, for the model's history.")]
Unlabel = Annotated[
    bool,
    typer.Option(
        "--unlabel",
        help="Begin without labels: every server takes that, whatever it missed, but refuses "
        "requests by label until the end.",
    ),
]
STORE = Path("models")


def rollback(
    name: Name,
    servers: options.Servers = None,
    settle_seconds: options.SettleSeconds = 30,
    load_seconds: options.LoadSeconds = 300,
    ca: options.Ca = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    signing_key: options.SigningKey = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Make the version before the live one live again."""
    from serving.store import Store

    tls = options.tls(ca, certificate, key)
    settling = options.settling(servers, settle_seconds, load_seconds, tls)
    found = Store(store, signer=options.signer(signing_key))
    with _refusals():
        version = found.rollback(name)
        settle(found, name, version, settling)
    _say_live(name, version, json)


def promote(
    name: Name,
    signing_key: options.SigningKey = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Make the canary the live version; the one before stays loaded, for a rollback."""
    from serving.store import Store

    with _refusals():
        version = Store(store, signer=options.signer(signing_key)).promote(name)
    _say_live(name, version, json)


def label(
    name: Name,
    label: Label,
    version: Version,
    servers: options.Servers = None,
    settle_seconds: options.SettleSeconds = 30,
    load_seconds: options.LoadSeconds = 300,
    ca: options.Ca = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    signing_key: options.SigningKey = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Move a label to a version that is in the store, once servers have loaded it."""
    from serving.store import Store

    tls = options.tls(ca, certificate, key)
    settling = options.settling(servers, settle_seconds, load_seconds, tls)
    found = Store(store, signer=options.signer(signing_key))
    with _refusals():
        found.set_label(name, label, version)
        settle(found, name, version, settling)
    if json:
        console.print_json({"name": name, "label": label, "version": version})
    else:
        console.stdout.print(f"{name}: {label} is version {version}")


def withdraw(
    name: Name,
    version: Version,
    reason: Reason = "withdrawn by hand",
    servers: options.Servers = None,
    settle_seconds: options.SettleSeconds = 30,
    load_seconds: options.LoadSeconds = 300,
    ca: options.Ca = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    signing_key: options.SigningKey = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Take a version out of service for good; where it was live, the one before is live again."""
    from serving.store import Store

    tls = options.tls(ca, certificate, key)
    settling = options.settling(servers, settle_seconds, load_seconds, tls)
    found = Store(store, signer=options.signer(signing_key))
    with _refusals():
        found.path(name, version)
        live = found.withdraw(name, version, reason)
        if live is not None:
            settle(found, name, live, settling)
    if json:
        console.print_json({"name": name, "withdrawn": version, "live": live})
    else:
        told = f"version {live} is live" if live else "no version is live"
        console.stdout.print(f"{name}: withdrew version {version}; {told}")


def repair(
    servers: options.Servers = None,
    settle_seconds: options.SettleSeconds = 30,
    load_seconds: options.LoadSeconds = 300,
    unlabel: Unlabel = False,
    ca: options.Ca = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    signing_key: options.SigningKey = None,
    store: options.StoreDir = STORE,
    json: options.Json = False,
) -> None:
    """Bring servers that missed a write to what the store says; finish what was interrupted.

    Also rebuilds a models.config that was lost, from the models' histories. Exit code 1 where a
    server still lacks something.
    """
    from serving.store import Store

    console.start_logging()
    tls = options.tls(ca, certificate, key)
    settling = options.settling(servers, settle_seconds, load_seconds, tls)
    with _refusals():
        done = Store(store, signer=options.signer(signing_key)).repair(settling, unlabel)
    _print(done, bool(settling.addresses) or unlabel, json)
    if done.lacks:
        faults = "; ".join(map(str, done.lacks))
        raise CommandError(
            f"{faults}. A version that does not load: convoy models withdraw. A server that takes "
            "no file: restart it",
            FAILED,
        )


def settle(store: "Store", name: str, version: int, settling: "Settling") -> None:
    """Wait until servers have a version, and move the labels that wait for it. Raises StoreError.

    Raises CommandError where a server does not get it: then no label has moved.
    """
    if version not in store.pending(name).values():
        return
    seconds = settling.settle_seconds
    how = ", ".join(settling.addresses) or f"{seconds:.0f} s, for no --servers are named"
    console.stderr.print(f"version {version} is loaded first: {how}", soft_wrap=True)
    if lacks := settling.wait({name: {version}}):
        raise CommandError(
            f"{'; '.join(map(str, lacks))}. No label has moved: convoy models repair with "
            f"--servers goes on, convoy models withdraw {name} {version} gives up",
            FAILED,
        )
    store.settle(name, version, settling.addresses)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what a store refuses into one line."""
    from serving.errors import StoreError

    try:
        yield
    except StoreError as problem:
        raise CommandError(str(problem)) from None


def _say_live(name: str, version: int, json: bool) -> None:
    if json:
        console.print_json({"name": name, "live": version})
    else:
        console.stdout.print(f"{name}: version {version} is live")


def _print(done: "Repaired", thorough: bool, json: bool) -> None:
    if json:
        lacks = [str(lack) for lack in done.lacks]
        facts = {"rebuilt": done.rebuilt, "removed": done.removed, "moved": done.moved}
        console.print_json({**facts, "lacks": lacks})
        return
    said = ["rebuilt models.config from the histories"] if done.rebuilt else []
    said += [f"{name}: taken out, for its directory is gone" for name in done.removed]
    for name, labels in done.moved.items():
        said += [f"{name}: {label} is version {version}" for label, version in labels.items()]
    if not said and not done.lacks:
        said = ["nothing was waiting, nothing was lost"]
    if not thorough:
        said.append(
            "a server that missed more than one write needs --servers, --unlabel or a restart"
        )
    for line in said:
        console.stdout.print(line, soft_wrap=True)
