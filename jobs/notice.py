"""Telling others how a scheduled run ended: a webhook, and commands of the user's own."""

import json
import logging
import os
import queue
import shlex
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPException
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import urlsplit

from jobs.attempts import Patience
from jobs.child import Ended
from jobs.exits import DATA_REFUSED, FAILED, INTERRUPTED, NOT_BLESSED, PUBLISHED, USAGE
from serving.stderr import visible

log = logging.getLogger(__name__)

WORDS = {  # for ends without a result
    PUBLISHED: "done",
    NOT_BLESSED: "not_blessed",
    DATA_REFUSED: "data_refused",
    USAGE: "refused",
    FAILED: "failed",
    INTERRUPTED: "interrupted",
}
ANSWER_SECONDS = 10.0  # for a webhook to answer, all of it
LONGEST_FACT = 8000  # characters in an environment variable; the kernel takes 128 KiB
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

    Raises ValueError for what is no web address or no command. Of an address it shows the scheme
    alone: any other part may be the secret.
    """

    webhooks: Sequence[str] = ()
    commands: Sequence[str] = ()  # of every outcome
    failure_commands: Sequence[str] = ()  # of failures alone

    def __post_init__(self) -> None:
        for url in self.webhooks:
            scheme = urlsplit(url).scheme
            if scheme not in ("http", "https") or not urlsplit(url).hostname:
                raise ValueError(
                    f"a webhook is an http or https address, got one that begins with {scheme!r}"
                )
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
    """Tells each listener in a thread of its own, so that none holds up a run or another one."""

    def __init__(self, listeners: Listeners, patience: Patience | None = None) -> None:
        self._listeners = listeners
        self._patience = patience or Patience(retries=3, seconds=5.0)
        self._closing = threading.Event()
        all_of_them = (*listeners.webhooks, *listeners.commands, *listeners.failure_commands)
        self._threads = {
            name: ThreadPoolExecutor(1, "convoy-notices") for name in dict.fromkeys(all_of_them)
        }

    def tell(self, notice: Notice) -> None:
        """Put a notice on its way."""
        listeners = self._listeners
        commands = [*listeners.commands, *(listeners.failure_commands if notice.failed else ())]
        for command in commands:
            self._submit(_run, command, notice)
        for url in listeners.webhooks:
            self._submit(self._post, url, notice)

    def close(self) -> None:
        """Deliver what is on its way, without further pauses and retries."""
        self._closing.set()
        for thread in self._threads.values():
            thread.shutdown()

    def _submit(self, send: Callable[[str, Notice], bool], listener: str, notice: Notice) -> None:
        self._threads[listener].submit(_kept, send, listener, notice)

    def _post(self, url: str, notice: Notice) -> bool:
        host = urlsplit(url).hostname  # the rest of a webhook's address is often its secret
        for attempt in range(self._patience.retries + 1):
            problem = _posted(url, notice)
            if problem is None:
                return True
            log.warning("webhook at %s: %s", host, problem)
            if not problem.temporary or self._closing.is_set():
                break
            self._closing.wait(self._patience.seconds * 2**attempt)
        log.error("webhook at %s: gave up on %s of %s", host, notice.outcome, notice.job)
        return False


def _kept(send: Callable[[str, Notice], bool], listener: str, notice: Notice) -> None:
    """Send a notice; one that cannot be sent is in the log, so that it is not lost."""
    try:
        sent = send(listener, notice)
    except Exception:  # a fault of ours or of the library's: nobody waits for the thread's result
        log.exception("a listener could not be told")
        sent = False
    if not sent:
        log.error("not told: %s", json.dumps(notice.to_json()))


@dataclass(frozen=True)
class _Problem:
    text: str
    temporary: bool

    def __str__(self) -> str:
        return self.text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for an answer: the notice is for the address that was given."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _posted(url: str, notice: Notice) -> _Problem | None:
    """Post once and return what went wrong, after at most so many seconds.

    A time-out of a socket begins anew with each byte, so the whole exchange has a thread.
    """
    answers: queue.SimpleQueue[_Problem | None] = queue.SimpleQueue()
    body = json.dumps(notice.to_json()).encode()
    threading.Thread(target=lambda: answers.put(_exchange(url, body)), daemon=True).start()
    try:
        return answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        return _Problem(f"no answer within {ANSWER_SECONDS:.0f} s", temporary=True)


def _exchange(url: str, body: bytes) -> _Problem | None:
    headers = {"Content-Type": "application/json", "User-Agent": "convoy-schedule"}
    try:
        # Its scheme was checked where it was read.
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirect)
        opener.open(request, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as problem:
        problem.close()
        return _Problem(f"HTTP {problem.code}", problem.code >= 500 or problem.code == 429)
    except (OSError, HTTPException, ValueError) as problem:  # a broken connection, an odd address
        text = str(getattr(problem, "reason", type(problem).__name__))
        return _Problem(text, temporary=not isinstance(problem, ValueError))
    return None


def _run(command: str, notice: Notice) -> bool:
    """Run a command with the notice as JSON on its stdin, and its facts in the environment.

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
        return True
    except subprocess.TimeoutExpired:
        log.error("hook %s: no end after %d s", words[0], COMMAND_SECONDS)
    except OSError as problem:
        log.error("hook %s: %s", words[0], problem.strerror)
    return False


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    return "".join(file.read().decode(errors="replace").strip().splitlines()[-1:])


def _text(value: Any) -> str:
    """Return a fact as a shell reads it: empty for none, 1 and empty for true and false.

    Text is cut where it is long; of other facts that are long the variable is empty, since stdin
    has them whole. What no environment can hold is written out.
    """
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, str):
        return visible(value)[:LONGEST_FACT]
    text = "" if value is None else json.dumps(value)
    return text if len(text) <= LONGEST_FACT else ""
