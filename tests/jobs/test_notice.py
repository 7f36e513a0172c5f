"""Webhooks and command hooks, on a real HTTP server and real commands."""

import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobs import notice as notices
from jobs.attempts import Patience
from jobs.child import Ended
from jobs.notice import Listeners, Notice, Notifier, notice
from tests.support.waiting import until

TIMES = ("2026-01-01T03:00:00+00:00", "2026-01-01T03:10:00+00:00")
SECONDS = 30.0  # for what goes on in other threads and processes


def of(code: int, stopping: bool = False, **result: Any) -> Notice:
    return notice("job", Ended(code, "runs/new", result, "last word"), 1, TIMES, stopping)


def tell(listeners: Listeners, *notices: Notice) -> None:
    notifier = Notifier(listeners, Patience(2, 0.01))
    for each in notices:
        notifier.tell(each)
    for thread in notifier._threads.values():
        thread.submit(int).result(SECONDS)  # whatever was told before it is delivered
    notifier.close()


@pytest.mark.parametrize(
    ("code", "stopping", "outcome", "failed"),
    [
        (0, False, "published", False),
        (3, False, "not_blessed", False),
        (4, False, "data_refused", True),
        (2, False, "refused", True),
        (1, False, "failed", True),
        (17, False, "failed", True),
        (75, False, "interrupted", True),
        (75, True, "interrupted", False),
        (-15, True, "killed", False),
        (-9, False, "killed", True),
    ],
)
def test_an_exit_code_has_a_word_and_may_call_for_somebody(code, stopping, outcome, failed):
    result = {"status": "published", "version": 7, "metrics": {"accuracy": 0.5}}
    told = of(code, stopping, **(result if code == 0 else {}))
    assert (told.outcome, told.failed) == (outcome, failed)
    assert told.version == (7 if code == 0 else None)


def test_a_result_has_its_own_word():
    withdrawn = of(1, status="rolled_back", version=8)
    assert (withdrawn.outcome, withdrawn.failed, withdrawn.version) == ("rolled_back", True, 8)
    assert of(0).outcome == "done"


class Webhook:
    """A real HTTP server that answers with these codes, the last one for ever."""

    def __init__(self, codes: list[int], headers: dict[str, str] | None = None) -> None:
        self.bodies: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(json.loads(body))
                self.send_response(codes[min(len(outer.bodies), len(codes)) - 1])
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=secret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.02])

    def __enter__(self) -> "Webhook":
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize(
    ("answers", "posts"), [([200], 1), ([503, 429, 204], 3), ([500], 3), ([404], 1)]
)
def test_a_webhook_is_told_again_while_that_may_help(
    answers: list[int], posts: int, caplog: pytest.LogCaptureFixture
):
    with Webhook(answers) as webhook:
        tell(Listeners(webhooks=[webhook.url]), of(3))
    assert webhook.bodies == [of(3).to_json()] * posts
    assert ("gave up" in caplog.text) == ("not told" in caplog.text) == (answers[-1] >= 400)
    assert "secret" not in caplog.text


def test_a_webhook_that_is_not_there_is_named_by_its_host(caplog: pytest.LogCaptureFixture):
    tell(Listeners(webhooks=["http://127.0.0.1:1/?token=secret"]), of(0))
    assert caplog.text.count("webhook at 127.0.0.1") == 4  # three tries, and the end of them
    assert "secret" not in caplog.text


def test_a_webhook_that_does_not_answer_holds_up_nobody():
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as deaf:  # it never accepts
        notifier = Notifier(Listeners(webhooks=[f"http://127.0.0.1:{deaf.server_port}/"]))
        before = time.monotonic()
        notifier.tell(of(0))
        told = time.monotonic()
        deaf.socket.close()  # ends the wait
        notifier.close()
    assert told - before < 5  # an answer is waited for twice as long


def test_a_redirection_takes_no_notice_elsewhere(caplog: pytest.LogCaptureFixture):
    with Webhook([200]) as other, Webhook([307], {"Location": other.url}) as webhook:
        tell(Listeners(webhooks=[webhook.url]), of(3))
    assert (len(webhook.bodies), other.bodies) == (1, [])
    assert "HTTP 307" in caplog.text
    assert f"not told: {json.dumps(of(3).to_json())}" in caplog.text


def test_an_answer_that_drips_has_one_deadline_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(notices, "ANSWER_SECONDS", 1.0)
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not done.wait(0.05):
            connection.sendall(b"X-More: yes\r\n")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        listeners = Listeners([url], [f"touch {tmp_path / 'told'}"])
        notifier = Notifier(listeners, Patience(0, 0.01))
        notifier.tell(of(0))
        dripping = threading.Thread(target=drip, args=[server.accept()[0]])
        dripping.start()
        until((tmp_path / "told").exists)
        assert "no answer" not in caplog.text
        notifier.close()
        done.set()
        dripping.join()
    assert "no answer within 1 s" in caplog.text


@pytest.mark.parametrize(
    "changed",
    [
        {"message": "a\0b"},
        {"message": "a\ud800b"},
        {"message": "a" * 200_000},
        {"metrics": {f"recall_{i}_{'x' * 20}": 0.5 for i in range(5000)}},
    ],
    ids=["NUL", "surrogate", "long", "many metrics"],
)
def test_a_hook_runs_whatever_the_notice_holds(tmp_path: Path, changed: dict[str, Any]):
    hook, told = tmp_path / "hook.py", tmp_path / "told"
    hook.write_text(HOOK)
    notice = replace(of(3), **changed)
    tell(Listeners(commands=[f"{sys.executable} {hook} {told}"]), notice)
    whole, facts = json.loads(told.read_text())
    assert whole == notice.to_json()
    assert facts["CONVOY_OUTCOME"] == "not_blessed"


HOOK = """
import json, os, sys
notice = json.load(sys.stdin)
facts = {key: value for key, value in os.environ.items() if key.startswith("CONVOY_")}
with open(sys.argv[1], "a") as file:
    file.write(json.dumps([notice, facts]) + "\\n")
"""


def test_commands_are_told_and_some_of_failures_alone(tmp_path: Path):
    hook, told, alarmed = tmp_path / "hook.py", tmp_path / "told", tmp_path / "alarmed"
    hook.write_text(HOOK)
    command = f"{sys.executable} {hook}"
    listeners = Listeners(commands=[f"{command} {told}"], failure_commands=[f"{command} {alarmed}"])
    good, bad = of(0, status="published", version=7), of(4)
    tell(listeners, good, bad)
    first, second = (json.loads(line) for line in told.read_text().splitlines())
    assert [first[0], second[0]] == [good.to_json(), bad.to_json()]
    assert first[1]["CONVOY_OUTCOME"] == "published"
    assert (first[1]["CONVOY_VERSION"], first[1]["CONVOY_RUN"]) == ("7", "runs/new")
    assert (first[1]["CONVOY_FAILED"], second[1]["CONVOY_FAILED"]) == ("", "1")
    (alarm,) = (json.loads(line) for line in alarmed.read_text().splitlines())
    assert alarm[0] == bad.to_json()


def test_a_hook_that_fails_is_logged_with_its_own_words(caplog: pytest.LogCaptureFixture):
    commands = ["/nonexistent/hook", "sh -c 'echo no luck >&2; exit 3'"]
    tell(Listeners(commands=commands), of(0))
    assert "/nonexistent/hook" in caplog.text
    assert "hook sh ended with code 3: no luck" in caplog.text


def test_a_hook_has_ended_although_it_leaves_something_in_the_background(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    behind = f"sleep 600 & echo $! > {tmp_path}/pid; echo no luck >&2; exit 3"
    after = f"touch {tmp_path}/after"
    before = time.monotonic()
    tell(Listeners(commands=[f"sh -c '{behind}'", after]), of(0))
    seconds = time.monotonic() - before
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # it was still there
    assert seconds < SECONDS  # a hook has twice as long
    assert (tmp_path / "after").exists()
    assert "hook sh ended with code 3: no luck" in caplog.text


@pytest.mark.parametrize(
    ("listeners", "message"),
    [
        ({"webhooks": ["file:///etc/passwd"]}, "http or https .* begins with 'file'$"),
        ({"webhooks": ["htp://hooks.example/SECRET"]}, "begins with 'htp'$"),
        ({"webhooks": ["https://"]}, "http or https"),
        ({"commands": [" "]}, "a hook is a command line"),
        ({"commands": ["cat >> log"]}, r"no shell reads a hook.* sh -c 'cat >> log'"),
        ({"commands": ["cat; date"]}, "no shell reads a hook"),
        ({"failure_commands": ["echo 'open"]}, "quotation"),
    ],
)
def test_listeners_that_cannot_be_told_are_refused_at_once(listeners, message):
    with pytest.raises(ValueError, match=message):
        Listeners(**listeners)
