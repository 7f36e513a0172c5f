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

from serving.stderr import PlainFormatter, visible, visible_line

OUR_LOGGERS = ("pipeline", "trainer", "tuning", "serving", "jobs")


class Terminal(Console):
    """Prints text as text: brackets in names are no markup, control characters are seen."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Console does, with the same options."""
        super().print(*(visible(o) if isinstance(o, str) else o for o in objects), **options)


stderr = Terminal(stderr=True)
stdout = Terminal(width=None if sys.stdout.isatty() else 160)  # a pipe has no edge to wrap at


def start_logging() -> None:
    """Show our packages' log records from INFO on, and everybody else's errors."""
    handler = RichHandler(console=stderr, show_path=False, log_time_format="%H:%M:%S")
    handler.setFormatter(PlainFormatter())
    logging.basicConfig(level=logging.ERROR, handlers=[handler])
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(logging.INFO)


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    text = json.dumps(value, ensure_ascii=False)
    # A name that is no UTF-8 is a lone surrogate here, which JSON can spell.
    print(text.encode("utf-8", "backslashreplace").decode(), flush=True)


def print_table(title: str, head: list[str], rows: list[list[Any]]) -> None:
    """Print a table on stdout."""
    table = Table(*head, show_header=any(head))
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    if title:  # by itself: the table's own would be cut into lines of the table's width
        stdout.print(Text(visible(title), "table.title"), soft_wrap=True)
    stdout.print(table)


def cell(value: Any) -> Text:
    """Return a table's cell: one line of text, without markup."""
    return Text(visible_line(str(value)))


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
