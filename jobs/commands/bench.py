"""`convoy bench-serving`: how fast a server answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import caller, console, options
from jobs.commands.predict import Address, Label, Model, Version
from jobs.exits import FAILED, CommandError
from jobs.images import find_images

if TYPE_CHECKING:
    from serving.client import Client
    from serving.exchange import Target
    from serving.load import Load, Measured

Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILES]...",
        help="Images, or directories of images; without any, random pixels of the size that the "
        "model takes.",
    ),
]
Callers = Annotated[
    list[int] | None,
    typer.Option(
        min=1, max=1024, help="Callers at a time; may be given repeatedly.", show_default="1, 8, 32"
    ),
]
Rows = Annotated[int, typer.Option(min=1, help="Images in each request.")]
Seconds = Annotated[
    float, typer.Option(min=0.1, max=3600, help="For all measurements together, in equal parts.")
]
CALLERS = [1, 8, 32]
HEAD = ["callers", "p50 ms", "p90 ms", "p99 ms", "requests/s", "images/s", "failed"]


def bench_serving(
    model: Model,
    files: Files = None,
    address: Address = "localhost:8500",
    version: Version = None,
    label: Label = None,
    callers: Callers = None,
    rows: Rows = 1,
    seconds: Seconds = 15.0,
    ca: options.Ca = None,
    certificate: options.Certificate = None,
    key: options.Key = None,
    json: options.Json = False,
) -> None:
    """Measure a server's latency and throughput with one request, sent again and again."""
    from serving.client import Client
    from serving.errors import CallError
    from serving.exchange import Target
    from serving.load import Load, measure

    images = find_images(files) if files else None
    callers = callers or CALLERS
    tls = options.tls(ca, certificate, key)
    try:
        with Client(address, tls=tls, metadata=caller.metadata()) as client:
            request, sent = _request(client, Target(model, version, label), images, rows)
        loads = [Load(request, sent, count, seconds / len(callers)) for count in callers]
        found = [_answered(load, measure(address, load, tls, caller.metadata())) for load in loads]
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    except CallError as problem:
        raise CommandError(str(problem), FAILED) from None
    if json:
        runs = [{"callers": c} | m.summary() for c, m in zip(callers, found, strict=True)]
        console.print_json({"model": model, "address": address, "rows": sent, "runs": runs})
    else:
        title = f"{model} at {address}, {sent} images in each request"
        console.print_table(title, HEAD, list(map(_row, callers, found)))


def _request(
    client: "Client", target: "Target", images: list[Path] | None, rows: int
) -> tuple[bytes, int]:
    """The request to send again and again, and its images; asks the server what the model takes."""
    from serving.load import encode, invent

    signatures = client.signatures(target.model, target.version, target.label)
    if images:
        return encode(images, target, rows)
    default = signatures.get("serving_default")
    if default is None:
        raise CommandError(f"model {target.model} has no serving_default, only {list(signatures)}")
    return encode(invent(default, rows), target, rows)


def _answered(load: "Load", measured: "Measured") -> "Measured":
    if not measured.latencies:
        reason = f"of {load.concurrency} callers none got an answer: {measured.failures}"
        raise CommandError(reason, FAILED)
    return measured


def _row(callers: int, measured: "Measured") -> list[str | int]:
    latencies = (f"{measured.percentile(percent) * 1e3:.2f}" for percent in (50, 90, 99))
    rates = (f"{measured.requests_per_second:.0f}", f"{measured.rows_per_second:.0f}")
    return [callers, *latencies, *rates, sum(measured.failures.values())]
