"""`convoy tfx`: a job as a TFX pipeline."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import exits, options
from jobs.exits import CommandError

if TYPE_CHECKING:
    from jobs.tfx_pipeline.records import Record

app = typer.Typer(no_args_is_help=True, help="Run a job as a TFX pipeline.")
Runner = Annotated[str, typer.Option(help="Whose format: kubeflow or vertex.")]
Out = Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, as convoy tfx run prints it.")]
Config = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The job file that says where metadata are.")
]
MISSING = (
    'TFX is not installed. It needs an environment of its own on Debian 13: pip install ".[tfx]" '
    "--constraint requirements-tfx.lock, or deploy/Dockerfile's target tfx"
)


@app.command("run")
def run(
    config: options.ConfigFile, set_: options.Overrides = None, json: options.Json = False
) -> None:
    """Run the job's pipeline on this machine; steps whose inputs are unchanged are not repeated.

    Exit codes: 0 published or unchanged, 1 failed, 2 wrong configuration, 3 not blessed.
    """
    _need_tfx()
    from jobs import console
    from jobs.config import load

    job = load(config, set_)
    console.load_tensorflow()
    from jobs.tfx_pipeline.connection import connection_config
    from jobs.tfx_pipeline.local import new_run, run_local
    from jobs.tfx_pipeline.records import read_record

    name = new_run()
    console.stderr.print(f"run {name}")
    try:
        run_local(job, name)
    except CommandError:
        raise
    except Exception as problem:
        first = str(problem).strip().partition("\n")[0]
        message = f"run {name} failed: {type(problem).__name__}: {first}"
        raise CommandError(message, exits.FAILED) from problem
    _tell(read_record(connection_config(job.tfx), name), json)


@app.command("compile")
def compile_(
    config: options.ConfigFile,
    runner: Runner = "kubeflow",
    out: Out = Path("pipeline.json"),
    set_: options.Overrides = None,
    json: options.Json = False,
) -> None:
    """Write the job's pipeline for Kubeflow Pipelines or Vertex AI."""
    _need_tfx()
    from jobs import console
    from jobs.config import load

    job = load(config, set_)
    console.load_tensorflow()
    from jobs.tfx_pipeline.cluster import compile_for

    written = compile_for(job, runner, out)
    spec = written.get("pipelineSpec", written)
    steps = sorted(spec["root"]["dag"]["tasks"])
    if json:
        console.print_json({"file": str(out), "runner": runner, "steps": steps})
    else:
        console.stdout.print(f"{out}: {len(steps)} steps for {runner}")


@app.command("show")
def show(run: Run, config: Config = None, json: options.Json = False) -> None:
    """Show a run from ML Metadata: steps, artifacts, scores and verdict.

    Without --config, of pipelines/metadata.db.
    """
    _need_tfx()
    from jobs import console
    from jobs.config import load
    from jobs.tfx_config import TfxConfig

    settings = TfxConfig() if config is None else load(config).tfx
    console.load_tensorflow()
    from jobs.tfx_pipeline.connection import connection_config
    from jobs.tfx_pipeline.records import read_record

    _print(read_record(connection_config(settings), run), json)


def _need_tfx() -> None:
    found = importlib.util.find_spec("tfx")
    if found is None or found.origin is None:  # a directory of that name is no package
        raise CommandError(MISSING)


def _tell(record: "Record", json: bool) -> None:
    _print(record, json)
    if record.status in ("published", "unchanged"):
        return
    reasons = "; ".join(record.reasons)
    if record.status == "not_blessed":
        raise CommandError(f"not blessed: {reasons}", exits.NOT_BLESSED)
    raise CommandError(f"{record.status}: {reasons}", exits.FAILED)


def _print(record: "Record", json: bool) -> None:
    from jobs import console

    if json:
        console.print_json(record.to_json())
        return
    facts: list[list[Any]] = [
        ["status", record.status],
        ["version", record.version or "none"],
        *([name, f"{value:.4f}"] for name, value in record.metrics.items()),
        *(["reason", reason] for reason in record.reasons),
    ]
    console.print_table(f"run {record.run}", ["", ""], facts)
    rows = [
        [s.name, s.state, s.seconds, "\n".join(a.uri for a in s.artifacts)] for s in record.steps
    ]
    console.print_table("steps", ["step", "state", "seconds", "artifacts"], rows)
