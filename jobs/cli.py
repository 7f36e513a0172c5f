"""The `convoy` command. Nothing heavy is imported here: `convoy --help` answers at once."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from jobs import faults
from jobs.commands import (
    bench,
    compare,
    config,
    data,
    demo,
    drift,
    evaluate,
    labels,
    launch,
    lineage,
    models,
    predict,
    preview,
    run,
    schedule,
    serve,
    signing,
    tfx,
    tune,
    zoo,
)
from jobs.exits import USAGE, CommandError
from serving.stderr import keep_stderr, visible, visible_line


class Commands(TyperGroup):
    """All commands. What the machine refuses is one line, whichever of them meets it.

    It is told in here, below typer, which takes an EOFError for a person who has left.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _usage_visible():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with faults.told(), _usage_visible():
            return super().invoke(ctx)


@contextmanager
def _usage_visible() -> Iterator[None]:
    """Show what is typed as text where typer repeats it."""
    try:
        yield
    except typer.TyperException as problem:
        if isinstance(message := getattr(problem, "message", None), str):
            problem.message = visible_line(message)
        raise


app = typer.Typer(
    name="convoy",
    cls=Commands,
    help="Takes image classifiers from a dataset to production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(run.run)
app.command("train")(run.train)
app.command("launch", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    launch.launch
)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("tune")(tune.tune)
app.command("serve")(serve.serve)
app.command("predict")(predict.predict)
app.command("bench-serving")(bench.bench_serving)
app.command("drift")(drift.drift)
app.command("demo")(demo.demo)
data.app.command("preview")(preview.preview)
app.add_typer(data.app, name="data")
for verb in (labels.rollback, labels.promote, labels.label, labels.withdraw, labels.repair):
    models.app.command(verb.__name__)(verb)
models.app.command("keygen")(signing.keygen)
models.app.command("token")(signing.token)
models.app.command("sign")(signing.sign)
models.app.command("verify")(signing.verify)
models.app.command("show")(lineage.show)
models.app.command("diff")(lineage.diff)
app.add_typer(models.app, name="models")
app.add_typer(schedule.app, name="schedule")
app.add_typer(zoo.app, name="zoo")
app.add_typer(tfx.app, name="tfx")
app.add_typer(config.app, name="config")


def main() -> None:
    """Run the command and end the process with its exit code."""
    keep_stderr()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is first imported
    try:
        app()
    except CommandError as problem:
        print(f"convoy: {visible(str(problem))}", file=sys.stderr)
        sys.exit(problem.code)
    except KeyboardInterrupt:
        print("convoy: interrupted", file=sys.stderr)
        sys.exit(USAGE)
