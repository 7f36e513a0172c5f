"""`convoy launch`: one training in several processes of this machine."""

from typing import Annotated

import typer

from jobs.exits import CommandError

COMMANDS = ("run", "train")


def launch(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train together.")],
    restarts: Annotated[
        int, typer.Option(min=0, help="How often all are started again when one is lost.")
    ] = 3,
) -> None:
    """Run `convoy run` or `convoy train` in several processes that train one network.

    Write the command behind the options: convoy launch --workers 2 run job.toml. When a worker dies
    all are started again, from the newest checkpoint. On several machines start the command on
    each, with TF_CONFIG set. The exit code is that of the command.
    """
    if not context.args or context.args[0] not in COMMANDS:
        raise CommandError(
            f"expected run or train and its arguments behind the options, received "
            f"{' '.join(context.args) or 'nothing'}. Such as convoy launch --workers 2 run job.toml"
        )
    from jobs import console
    from jobs.launch import launch as launch_all
    from jobs.signals import stop_on_signal

    console.start_logging()
    with stop_on_signal() as stop:
        code = launch_all(context.args, workers, restarts, stop)
    raise typer.Exit(code)
