"""`convoy data`: look at a job's data before anything is trained on them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import console, options
from jobs.exits import DATA_REFUSED, CommandError

if TYPE_CHECKING:
    from pipeline.inspection import Inspection

app = typer.Typer(no_args_is_help=True, help="Look at a job's data.")
Pictures = Annotated[
    Path | None, typer.Option(metavar="FILE.png", help="Draw the examples that broke a rule.")
]


@app.callback()
def data() -> None:
    """Look at a job's data."""


@app.command("check")
def check(
    config: options.ConfigFile,
    set_: options.Overrides = None,
    pictures: Pictures = None,
    json: options.Json = False,
) -> None:
    """Check the data by the rules of data.check; exit code 4 when an error-level rule breaks."""
    from jobs.config import load

    job = load(config, set_)
    console.load_tensorflow()
    from pipeline.dataset import open_data
    from pipeline.inspection import inspect, refusal

    try:
        inspection = inspect(open_data(job.data), job.data.check)
    except ValueError as problem:
        raise CommandError(str(problem)) from None
    if pictures:
        _draw(inspection, pictures)
    if json:
        console.print_json(inspection.check.to_json())
    else:
        _print(inspection)
    if not inspection.check.ok:
        raise CommandError(refusal(inspection.check), DATA_REFUSED)


def _draw(inspection: "Inspection", path: Path) -> None:
    from trainer import figures

    if not inspection.pictures:
        console.stderr.print("no example to draw")
        return
    captions, images = zip(*inspection.pictures, strict=True)
    path.write_bytes(figures.png(figures.gallery(images, captions)))


def _print(inspection: "Inspection") -> None:
    from pipeline.inspection import examples

    rows = [
        [
            finding.name,
            "ok" if finding.ok else finding.severity,
            finding.measured(),
            f"{finding.limit:.4g}",
            examples(finding),
        ]
        for finding in inspection.check.findings
    ]
    console.print_table("data check", ["rule", "verdict", "found", "limit", "examples"], rows)
