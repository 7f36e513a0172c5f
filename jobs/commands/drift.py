"""`convoy drift`: whether a model is still asked about what it was tested on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import console, options
from jobs.exits import DRIFTED, CommandError

if TYPE_CHECKING:
    from jobs.drift import Served, Shift

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Log = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="The servers' request logs: those of convoy serve --request-log, or TFRecords of "
        "TensorFlow Serving's PredictionLog.",
    ),
]
Version = Annotated[
    int | None, typer.Option(help="Whose answers to look at; without it, the live version's.")
]
Hours = Annotated[float | None, typer.Option(min=0, help="Only answers of the last hours.")]
Threshold = Annotated[
    float,
    typer.Option(
        min=0, help="The population stability index from which on it is drift; 0.25 is much."
    ),
]
MinExamples = Annotated[
    int, typer.Option(min=1, help="Of fewer answers nothing is said, and the exit code is 0.")
]
Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw both distributions.")]


def drift(
    name: Name,
    log: Log,
    store: options.StoreDir = Path("models"),
    version: Version = None,
    hours: Hours = None,
    threshold: Threshold = 0.2,
    min_examples: MinExamples = 200,
    plot: Plot = None,
    json: options.Json = False,
) -> None:
    """Compare classes and confidences of what was served with those of the test split.

    Exit codes: 0 no drift, or too few answers to tell; 10 drift, so that a scheduler can retrain.
    """
    from jobs import drift as measure
    from serving import traffic
    from serving.errors import ServingError
    from serving.store import Store

    try:
        chosen = version or Store(store).live(name)
        if chosen is None:
            raise CommandError(f"{name} has no live version in {store}: name one with --version")
        tested = measure.reference(Store(store).card(name, chosen))
        since = datetime.now(UTC) - timedelta(hours=hours) if hours is not None else None
        served = measure.collect(traffic.read(log), name, chosen, since)
    except ServingError as problem:
        raise CommandError(str(problem)) from None
    except ValueError as problem:
        raise CommandError(f"{name} version {chosen}: {problem}") from None
    enough = served.examples >= min_examples
    shifts = measure.compare(tested, served, threshold) if enough else []
    if plot and enough:
        _draw(plot, f"{name} version {chosen}: {served.examples:,} answers", shifts)
    _report({"name": name, "version": chosen}, served, shifts, min_examples, json)


def _draw(path: Path, title: str, shifts: "list[Shift]") -> None:
    from jobs.drift_figure import draw
    from trainer import figures

    path.write_bytes(figures.png(draw(title, shifts)))


def _report(
    which: dict[str, Any], served: "Served", shifts: "list[Shift]", wanted: int, json: bool
) -> None:
    moved = [shift for shift in shifts if not shift.ok]
    if json:
        console.print_json(
            which
            | {
                "requests": served.requests,
                "examples": served.examples,
                "drifted": bool(moved) if shifts else None,
                "distributions": [shift.to_json() for shift in shifts],
            }
        )
    elif shifts:
        _print(which, served, shifts)
    else:
        console.stdout.print(
            f"{which['name']} version {which['version']}: too few answers to tell, "
            f"{served.examples} of {wanted}",
        )
    if moved:
        names = ", ".join(
            f"{s.histogram.name} (PSI {s.psi:.3f} above {s.limit:.3f})" for s in moved
        )
        raise CommandError(f"{which['name']} version {which['version']} drifts: {names}", DRIFTED)


def _print(which: dict[str, Any], served: "Served", shifts: "list[Shift]") -> None:
    rows = [
        [
            shift.histogram.name,
            f"{shift.psi:.4f}",
            f"{shift.limit:.4f}",
            "ok" if shift.ok else "drift",
            _most_moved(shift),
        ]
        for shift in shifts
    ]
    title = (
        f"{which['name']} version {which['version']}: {served.examples:,} answers to "
        f"{served.requests:,} requests"
    )
    console.print_table(title, ["distribution", "PSI", "limit", "verdict", "moved most"], rows)


def _most_moved(shift: "Shift") -> str:
    sides = (shift.histogram.tested, shift.histogram.served)
    tested, served = ([count / max(sum(side), 1) for count in side] for side in sides)
    index = max(range(len(tested)), key=lambda i: abs(served[i] - tested[i]))
    return f"{shift.histogram.bins[index]}: {tested[index]:.1%} -> {served[index]:.1%}"
