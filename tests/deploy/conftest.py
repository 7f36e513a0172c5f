"""A container engine for the tests that need one, of their own where none is named."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.waiting import until

PROGRAMS = ("dockerd", "docker", "docker-compose", "debootstrap")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE = "convoy-base"


@dataclass(frozen=True)
class Engine:
    """A running engine: its socket, and the image that others are built on."""

    host: str
    base: str

    @property
    def environment(self) -> dict[str, str]:
        """What the clients need, this machine's package index included."""
        found = {**os.environ, "DOCKER_HOST": self.host, "BASE_IMAGE": self.base}
        found["PACKAGE_INDEX"] = os.environ.get("PIP_INDEX_URL", "")
        if self.base.startswith(BASE):
            found["PACKAGE_CERT"] = str(CERTIFICATES)  # see make_base
        return found

    def docker(self, *arguments: str) -> str:
        """Run a docker command that must succeed; gives its output without the last newline."""
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def answers(self) -> bool:
        command = ["docker", "info"]
        done = subprocess.run(command, env=self.environment, capture_output=True, check=False)
        return done.returncode == 0


def make_base(engine: Engine, root: Path) -> None:
    """Import a minimal system of this machine's release, which needs no image registry."""
    release = Path("/etc/os-release").read_text(encoding="utf-8")
    suite = re.search(r"^VERSION_CODENAME=(.*)$", release, re.MULTILINE)
    assert suite, "debootstrap needs the name of a Debian release"
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, suite.group(1), root],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    if CERTIFICATES.exists():  # an index behind an authority that only this machine knows
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            ["docker", "import", "-", engine.base],
            env=engine.environment,
            stdin=tar.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
    shutil.rmtree(root)


@contextmanager
def private_engine(directory: Path) -> Iterator[Engine]:
    """Run an engine in a directory of its own; skips, saying why, where none can run."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Debian's docker.io, docker-compose, debootstrap: {missing=}")
    engine = Engine(f"unix://{directory}/docker.sock", BASE)
    options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    command = ["dockerd", f"--host={engine.host}"]
    command += [f"--{option}={directory / place}" for option, place in options.items()]
    log = directory / "log"
    with log.open("w") as file:
        daemon = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        until(lambda: engine.answers() or daemon.poll() is not None, "the engine answers", 60)
        if daemon.poll() is not None:
            last = log.read_text().splitlines()[-1]
            pytest.skip(f"the engine ended with code {daemon.returncode}: {last}")
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(60)


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine that DOCKER_HOST names, or one of the tests' own with a base image of its own."""
    if host := os.environ.get("DOCKER_HOST"):
        yield Engine(host, os.environ.get("BASE_IMAGE", "python:3.11-slim-bookworm"))
        return
    directory = Path(tempfile.mkdtemp(prefix="convoy-engine-"))  # sockets need short paths
    try:
        with private_engine(directory) as engine:
            make_base(engine, directory / "base")
            yield engine
    finally:
        shutil.rmtree(directory, ignore_errors=True)
