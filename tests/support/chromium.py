"""A headless Chromium that tests look at pages with, over DevTools' pipe."""

import base64
import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE = 60.0  # seconds for one answer: a loaded machine may need many
FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
LOOK = """
(() => ({
  scroll_width: document.documentElement.scrollWidth,
  inner_width: window.innerWidth,
  height: document.documentElement.scrollHeight,
  images: [...document.images].map(i => ({width: i.naturalWidth, alt: i.alt})),
  headings: [...document.querySelectorAll('h2')].map(h => h.textContent),
}))()
"""


@dataclass(frozen=True)
class Look:
    """What a loaded page looks like from within, in CSS pixels."""

    scroll_width: int
    inner_width: int
    height: int
    images: list[dict[str, Any]]  # natural width and alt of each
    headings: list[str]
    errors: list[str]  # exceptions, failed loads and what the page wrote to the console


class Chromium:
    """One browser process; `close` ends it."""

    def __init__(self, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        start = f'exec chromium {FLAGS} --user-data-dir="$0" --remote-debugging-pipe 3<&{commands}'
        self._process = subprocess.Popen(
            ["bash", "-c", f"{start} 4>&{answers}", str(profile)],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer, self._number, self._events = b"", 0, list[dict[str, Any]]()

    def look(self, page: Path, width: int, dark: bool = False) -> Look:
        """Open a page in a window of this width and measure it."""
        session = self._open(page, width, dark)
        found = self._send("Runtime.evaluate", session, expression=LOOK, returnByValue=True)
        return Look(**found["result"]["value"], errors=self._errors(session))

    def picture(self, page: Path, width: int, dark: bool = False) -> bytes:
        """Give the whole page as PNG."""
        session = self._open(page, width, dark)
        shot = self._send("Page.captureScreenshot", session, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        """End the browser."""
        self._send("Browser.close")
        self._process.wait(DEADLINE)
        os.close(self._commands)
        os.close(self._answers)

    def _open(self, page: Path, width: int, dark: bool) -> str:
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        session: str = self._send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self._send(f"{domain}.enable", session)
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self._send("Emulation.setDeviceMetricsOverride", session, **screen)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", session, features=scheme)
        self._send("Page.navigate", session, url=page.resolve().as_uri())
        while not self._seen("Page.loadEventFired", session):
            self._read()
        return session

    def _seen(self, method: str, session: str) -> list[dict[str, Any]]:
        events = self._events
        return [e for e in events if (e["method"], e.get("sessionId")) == (method, session)]

    def _errors(self, session: str) -> list[str]:
        methods = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(e["params"]) for m in methods for e in self._seen(m, session)]

    def _send(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        """Give the next message; events are kept too."""
        until = time.monotonic() + DEADLINE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], until - time.monotonic())
            received = os.read(self._answers, 1 << 16) if ready else b""
            if not received:
                raise RuntimeError(f"Chromium gave no answer (exit code {self._process.poll()})")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._events.append(message)
        return message
