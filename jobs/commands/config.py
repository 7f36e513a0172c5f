"""`convoy config`: what a job file may say."""

import json

import typer

app = typer.Typer(no_args_is_help=True, help="What a job file may say.")


@app.callback()
def config() -> None:
    """What a job file may say."""


@app.command("schema")
def schema() -> None:
    """Print the job file's JSON Schema, with every default and its reason."""
    from jobs.config import schema

    print(json.dumps(schema(), indent=2, ensure_ascii=False))
