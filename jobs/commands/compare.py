"""`convoy compare`: runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from jobs import options

Compared = Annotated[
    list[Path], typer.Argument(metavar="RUN RUN...", help="Directories of two runs or more.")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.html", help="Write a page with the curves.")
]


def compare(runs: Compared, out: Out = None, json: options.Json = False) -> None:
    """Compare runs: settings that differ, scores with intervals, speed, seconds and size."""
    from jobs import console
    from jobs.comparison import compare as read

    comparison = read(runs)
    if not comparison.same_data:
        console.stderr.print("the runs were tested on different data: their scores do not compare")
    if out is not None:
        from jobs.comparison_page import render

        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render(comparison), encoding="utf-8")
        console.stderr.print(str(out))
    if json:
        console.print_json(comparison.to_json())
        return
    from jobs import comparison_table as table

    head = ["", *comparison.names]
    if settings := table.setting_rows(comparison):
        console.print_table("settings that differ", head, list(settings))
    console.print_table("test scores", head, list(table.score_rows(comparison)))
    console.print_table("training", head, list(table.fact_rows(comparison)))
