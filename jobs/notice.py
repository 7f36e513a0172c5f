"""Telling others how a scheduled run ended: a webhook, and commands of the user's own."""

import json
import logging
import os
import shlex
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPException
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import urlsplit

from jobs.attempts import Patience
from jobs.child import Ended
from jobs.exits import DATA_REFUSED, FAILED, INTERRUPTED, NOT_BLESSED, PUBLISHED, USAGE

log = logging.getLogger(__name__)

WORDS = {  # for ends without a result
    PUBLISHED: "done",
    NOT_BLESSED: "not_blessed",
    DATA_REFUSED: "data_refused",
    USAGE: "refused",
    FAILED: "failed",
    INTERRUPTED: "interrupted",
}
ANSWER_SECONDS = 10.0  # for a webhook to answer
COMMAND_SECONDS = 60.0  # for a command to end
OPERATORS = frozenset(["<", ">", ">>", "2>&1", "|", "||", "&", "&&", ";"])  # of a shell


@dataclass(frozen=True)
class Notice:
    """How a scheduled run ended. Times are UTC, in ISO format."""

    job: str
    outcome: str  # what `convoy run` reports, or the word for its exit code
    failed: bool  # somebody should look; a model that was not blessed is no failure
    code: int
    attempts: int
    run: str | None
    version: int | None
    started: str
    ended: str
    message: str  # the run's last line on stderr
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Give the notice as plain JSON values."""
        return asdict(self)


def notice(job: str, ended: Ended, attempts: int, times: tuple[str, str], stopping: bool) -> Notice:
    """Say what an end means. `stopping`: an interruption was asked for, and is no failure."""
    word = ended.result.get("status") or WORDS.get(ended.code)
    harmless = {PUBLISHED, NOT_BLESSED} | ({INTERRUPTED} if stopping else set())
    return Notice(
        job=job,
        outcome=word or ("killed" if ended.code < 0 else "failed"),
        failed=ended.code not in harmless and not (stopping and ended.code < 0),
        code=ended.code,
        attempts=attempts,
        run=ended.run,
        version=ended.result.get("version"),
        started=times[0],
        ended=times[1],
        message=ended.message,
        metrics=ended.result.get("metrics") or {},
    )


@dataclass(frozen=True)
class Listeners:
    """Who is told. Commands are split as a shell would, but no shell runs them.

    Raises ValueError for what is no web address or no command.
    """

    webhooks: Sequence[str] = ()
    commands: Sequence[str] = ()  # of every outcome
    failure_commands: Sequence[str] = ()  # of failures alone

    def __post_init__(self) -> None:
        for url in self.webhooks:
            if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(f"a webhook is an http or https address, got {url!r}")
        for command in (*self.commands, *self.failure_commands):
            words = shlex.split(command)
            if not words:
                raise ValueError(f"a hook is a command line, got {command!r}")
            if OPERATORS.intersection(words) or any(word.endswith(";") for word in words):
                raise ValueError(
                    f"no shell reads a hook, so {command!r} would hand its signs on as arguments; "
                    f"give the shell's work to one: sh -c {shlex.quote(command)}"
                )


class Notifier:
    """Tells the listeners in a thread of its own, so that none of them holds up a run."""

    def __init__(self, listeners: Listeners, patience: Patience | None = None) -> None:
        self._listeners = listeners
        self._patience = patience or Patience(retries=3, seconds=5.0)
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, "convoy-notices")

    def tell(self, notice: Notice) -> None:
        """Put a notice on its way."""
        listeners = self._listeners
        commands = [*listeners.commands, *(listeners.failure_commands if notice.failed else ())]
        for command in commands:
            self._thread.submit(_run, command, notice)
        for url in listeners.webhooks:
            self._thread.submit(self._post, url, notice)

    def close(self) -> None:
        """Deliver what is on its way, without further pauses and retries."""
        self._closing.set()
        self._thread.shutdown()

    def _post(self, url: str, notice: Notice) -> None:
        host = urlsplit(url).hostname  # the rest of a webhook's address is often its secret
        for attempt in range(self._patience.retries + 1):
            if problem := _posted(url, notice):
                log.warning("webhook at %s: %s", host, problem)
            if problem is None or not problem.temporary or self._closing.is_set():
                return
            self._closing.wait(self._patience.seconds * 2**attempt)
        log.error("webhook at %s: gave up on %s of %s", host, notice.outcome, notice.job)


@dataclass(frozen=True)
class _Problem:
    text: str
    temporary: bool

    def __str__(self) -> str:
        return self.text


def _posted(url: str, notice: Notice) -> _Problem | None:
    """Post once and give what went wrong."""
    body = json.dumps(notice.to_json()).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "convoy-schedule"}
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as problem:
        problem.close()
        return _Problem(f"HTTP {problem.code}", problem.code >= 500 or problem.code == 429)
    except (OSError, HTTPException) as problem:  # URLError, a time-out, a broken connection
        return _Problem(str(problem), temporary=True)
    return None


def _run(command: str, notice: Notice) -> None:
    """Run a command with the notice as JSON on its stdin and in its environment.

    It talks to files: a pipe would stay open for as long as what it leaves in the background.
    """
    words = shlex.split(command)
    facts = {f"CONVOY_{key.upper()}": _text(value) for key, value in notice.to_json().items()}
    try:
        with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
            stdin.write(json.dumps(notice.to_json()).encode())
            stdin.seek(0)
            done = subprocess.run(
                words,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=os.environ | facts,
                timeout=COMMAND_SECONDS,
            )
            if done.returncode:
                last = _last_line(stderr) or _last_line(stdout)
                log.error("hook %s ended with code %d: %s", words[0], done.returncode, last)
    except (OSError, subprocess.TimeoutExpired) as problem:
        log.error("hook %s: %s", words[0], problem)


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    return "".join(file.read().decode(errors="replace").strip().splitlines()[-1:])


def _text(value: Any) -> str:
    """Give a fact as a shell reads it: empty for none, 1 and empty for true and false."""
    if isinstance(value, bool):
        return "1" if value else ""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
