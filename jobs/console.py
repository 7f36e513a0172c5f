"""What a person sees: progress and logs on stderr, results on stdout."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table
from rich.text import Text

OUR_LOGGERS = ("pipeline", "trainer", "tuning", "serving", "jobs")
stderr = Console(stderr=True)
stdout = Console(width=None if sys.stdout.isatty() else 160)  # a pipe has no edge to wrap at


def start_logging() -> None:
    """Show our packages' log records from INFO on, and everybody else's errors."""
    handler = RichHandler(console=stderr, show_path=False, log_time_format="%H:%M:%S")
    logging.basicConfig(level=logging.ERROR, handlers=[handler], format="%(message)s")
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def print_table(title: str, head: list[str], rows: list[list[Any]]) -> None:
    """Print a table on stdout."""
    table = Table(*head, show_header=any(head))
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # brackets in names are no markup
    if title:  # by itself: the table's own would be cut into lines of the table's width
        stdout.print(Text(title, "table.title"), soft_wrap=True)
    stdout.print(table)


@contextmanager
def quiet_native_logs() -> Iterator[None]:
    """Drop what TensorFlow's native code writes to stderr while it is first imported.

    Those lines ("Could not find cuda drivers") come before its logging can be configured.
    Exceptions pass.
    """
    kept = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def load_tensorflow(onednn: bool = True) -> None:
    """Import TensorFlow now, with a word to the person who waits for it.

    oneDNN's kernels train 2 to 8 times faster on CPUs with AVX2, where TensorFlow leaves them off
    (images/s on two cores: mnist_cnn 1,252 and 2,657, resnet18 at 32x32 19 and 150). A server takes
    TensorFlow's own choice: with AVX2 one image at a time takes twice as long with them, with
    AVX512, where they are on, no longer.
    """
    start_logging()
    if onednn:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with stderr.status("loading TensorFlow"), quiet_native_logs():
        import tensorflow  # noqa: F401  # imported for its side effect: later imports find it
    for name in ("absl", "tensorflow"):  # importing TensorFlow has set their levels anew
        logging.getLogger(name).setLevel(logging.ERROR)
