"""`convoy evaluate`: score a run's network on its test split."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs import options

if TYPE_CHECKING:
    from trainer.evaluate import Evaluation

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]
SliceBy = Annotated[
    list[str] | None,
    typer.Option("--slice", metavar="COLUMN", help="Score the values of this metadata column."),
]


def evaluate(run: Run, slice_: SliceBy = None, json: options.Json = False) -> None:
    """Evaluate a run's trained network: scores with intervals, every class, and slices."""
    from jobs import console
    from jobs.rundir import RunDir

    directory = RunDir.open(run)
    job = directory.job()
    if slice_:
        sliced = job.evaluate.model_copy(update={"slices": tuple(slice_)})
        job = job.model_copy(update={"evaluate": sliced})
    console.load_tensorflow()
    from jobs import preparation

    model = preparation.load_model(directory)
    _, result = preparation.evaluate(job, preparation.load_data_of(directory, job), model)
    if json:
        console.print_json(result.to_json())
    else:
        _print(result)


def _print(result: "Evaluation") -> None:
    from jobs import console

    head = ["score", "value", f"{result.confidence:.0%} interval"]
    ends = {name: f"{i.low:.4f} to {i.high:.4f}" for name, i in result.intervals.items()}
    scores = [[k, f"{v:.4f}", ends.get(k, "")] for k, v in result.metrics().items()]
    console.print_table("test split", head, scores)
    classes = [
        [s.label, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", s.support]
        for s in result.per_class
    ]
    console.print_table("classes", ["class", "precision", "recall", "F1", "examples"], classes)
    slices = [
        [s.column, s.value, f"{s.accuracy:.4f}", f"{s.low:.4f} to {s.high:.4f}", s.count]
        for s in result.slices
    ]
    if slices:
        console.print_table("slices", ["column", "value", "accuracy", head[2], "examples"], slices)
