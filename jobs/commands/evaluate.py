"""`convoy evaluate`: score a run's network on its test split."""

from pathlib import Path
from typing import Annotated

import typer

from jobs import options

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run.")]


def evaluate(run: Run, json: options.Json = False) -> None:
    """Evaluate a run's trained network: accuracy, top-k, loss, and every class."""
    from jobs import console
    from jobs.rundir import RunDir

    directory = RunDir.open(run)
    job = directory.job()
    console.load_tensorflow()
    from dataclasses import asdict

    from jobs import preparation
    from trainer.evaluate import predict, score

    model = preparation.load_model(directory)
    data = preparation.load_data(job)
    result = score(predict(model, data.test), data.info.class_names, job.train.top_k)
    if json:
        console.print_json(asdict(result))
        return
    title = ", ".join(f"{name} {value:.4f}" for name, value in result.metrics().items())
    rows = [
        [s.label, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", s.support]
        for s in result.per_class
    ]
    console.print_table(title, ["class", "precision", "recall", "F1", "examples"], rows)
