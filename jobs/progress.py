"""The progress bar of training."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from jobs import console
from jobs.signals import stop_on_signal
from trainer.callbacks import Hooks


@contextmanager
def watch(epochs: int) -> Iterator[Hooks]:
    """Give hooks that draw a bar per epoch on stderr and stop training on SIGTERM or SIGINT."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with (
        stop_on_signal() as stop,
        Progress(*columns, console=console.stderr, transient=True) as progress,
    ):
        bar = _Bar(progress, progress.add_task("epoch 1", total=None, visible=False), epochs)
        yield Hooks(on_step=bar.step, on_epoch=bar.epoch, stop_requested=stop.is_set)


class _Bar:
    def __init__(self, progress: Progress, task: TaskID, epochs: int) -> None:
        self.progress, self.task, self.epochs = progress, task, epochs

    def step(self, step: int, steps: int) -> None:
        self.progress.update(self.task, completed=step, total=steps, visible=True)

    def epoch(self, epoch: int, logs: dict[str, float]) -> None:
        scores = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        self.progress.console.print(f"epoch {epoch}/{self.epochs}  {scores}", soft_wrap=True)
        self.progress.reset(self.task, description=f"epoch {epoch + 1}", visible=False)
