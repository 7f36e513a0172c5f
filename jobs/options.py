"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="Job file (TOML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override one setting, such as train.epochs=5."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout at the end.")]
Runs = Annotated[Path, typer.Option(help="Where run directories are made.")]
StoreDir = Annotated[Path, typer.Option(help="The model store's directory.")]
