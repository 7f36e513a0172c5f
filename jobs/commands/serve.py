"""`convoy serve`: the embedded model server on a store."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import console, options
from jobs.exits import CommandError

if TYPE_CHECKING:
    from serving.server import ModelServer

Port = Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; 0 picks a free one.")]
RestPort = Annotated[int, typer.Option(min=0, max=65535, help="REST port; 0 picks a free one.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every interface.")]
RequestLogDir = Annotated[
    Path | None,
    typer.Option(
        "--request-log",
        metavar="DIR",
        help="Log requests there, one JSON line each, for `convoy drift`: classes and confidences, "
        "no pixels. A file a day, kept for 30 days.",
    ),
]
Rate = Annotated[
    float, typer.Option("--request-log-rate", min=0, max=1, help="The share that is logged.")
]
RequireSignature = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="PUBLIC_KEY",
        help="Serve only versions that are signed with this key; see `convoy models keygen`.",
    ),
]
SslConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--ssl-config-file",
        metavar="FILE",
        help="TLS for gRPC: TensorFlow Serving's SSLConfig, text format. Read again on changes.",
    ),
]
RestSsl = Annotated[bool, typer.Option("--rest-api-ssl", help="TLS for REST as well.")]
TokensFile = Annotated[
    Path | None,
    typer.Option(
        "--tokens", metavar="FILE", help="Who may call; see `convoy models token`. Unset: everyone."
    ),
]
AllowReload = Annotated[
    bool,
    typer.Option(
        "--allow-config-reload",
        help="Take HandleReloadConfigRequest from everyone, not only with client certificates.",
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keeps how new the newest signed configuration was, so that no restart takes an older "
        "one.",
    ),
]


def serve(
    store: options.StoreDir = Path("models"),
    port: Port = 8500,
    rest_port: RestPort = 8501,
    host: Host = "127.0.0.1",
    request_log: RequestLogDir = None,
    request_log_rate: Rate = 1.0,
    require_signature: RequireSignature = None,
    state: State = None,
    ssl_config_file: SslConfigFile = None,
    rest_api_ssl: RestSsl = False,
    tokens: TokensFile = None,
    allow_config_reload: AllowReload = False,
) -> None:
    """Serve a store's models over gRPC and REST until SIGTERM, following what is published."""
    console.load_tensorflow(onednn=False)
    from serving import server
    from serving.errors import ServingError
    from serving.seal import read_verifier
    from serving.settings import Listen, of_store
    from serving.store import Store

    if rest_api_ssl and ssl_config_file is None:
        raise CommandError("--rest-api-ssl needs --ssl-config-file")
    listen = Listen(
        host=host,
        port=port,
        rest_port=rest_port,
        tls=ssl_config_file,
        rest_tls=rest_api_ssl,
        tokens=tokens,
        reload=allow_config_reload,
    )
    try:
        Store(store).create()  # an empty store is served, and filled later
        settings = replace(
            of_store(store, listen),
            verifier=read_verifier(require_signature) if require_signature else None,
            state=state,
            log_directory=request_log,
            log_rate=request_log_rate if request_log else 0.0,
        )
        server.serve(settings, _announce)
    except ServingError as problem:
        raise CommandError(str(problem)) from None


def _announce(server: "ModelServer") -> None:
    print(f"listening grpc={server.grpc_address} rest={server.rest_address}", flush=True)
