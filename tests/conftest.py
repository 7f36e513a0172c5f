"""What every test shares: prepared data, quick processes, a published run, a browser."""

import gc
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import Chromium
from tests.support.forkserver import ForkServer
from tests.support.once import Once, session_place
from tests.support.workplace import JOB, Workplace

pytest_plugins = ["tests.support.budget"]
Published = tuple[Workplace, dict[str, Any]]


def pytest_configure() -> None:
    """Set TensorFlow up, before a test imports it: the session's workers share the cores."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = str(max(1, len(os.sched_getaffinity(0)) // workers))
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `convoy` sets it for training


def pytest_collection_finish() -> None:
    """Leave TensorFlow's million objects out of every garbage collection: a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What this session makes once, whichever worker needs it first."""
    return Once(session_place(tmp_path_factory))


@pytest.fixture(scope="session")
def data_dir(once: Once) -> Path:
    """Prepared sources of this test session."""
    return once.root / "data"


@pytest.fixture(scope="session")
def forkserver() -> Iterator[ForkServer]:
    """Python processes that start in no time."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def workplace(tmp_path: Path, data_dir: Path, forkserver: ForkServer) -> Workplace:
    """A fresh workplace with `job.toml`."""
    (tmp_path / "job.toml").write_text(JOB.format(data_dir=data_dir))
    return Workplace(tmp_path, forkserver)


@pytest.fixture(scope="session")
def published(once: Once, data_dir: Path, forkserver: ForkServer) -> Published:
    """A workplace in which `convoy run job.toml` has published once, and what it printed.

    For reading: whoever changes it takes `own_published`.
    """

    def make(path: Path) -> None:
        (path / "job.toml").write_text(JOB.format(data_dir=data_dir))
        outcome = Workplace(path, forkserver).result("run", "job.toml")
        (path / "outcome.json").write_text(json.dumps(outcome))

    place = once.made("published", make)
    return Workplace(place, forkserver), json.loads((place / "outcome.json").read_text())


@pytest.fixture
def own_published(tmp_path: Path, published: Published) -> Published:
    """A copy of `published` that a test may change."""
    place, outcome = published
    shutil.copytree(place.path, tmp_path / "published", symlinks=True)
    return Workplace(tmp_path / "published", place.forkserver), outcome


@pytest.fixture(scope="session")
def certificates(once: Once) -> Path:
    """An authority, a server's and a client's certificate, made with openssl.

    `server.ssl` and `mutual.ssl` are SSLConfig files; the second asks callers for a certificate.
    """
    return once.made("certificates", _make_certificates)


def _make_certificates(directory: Path) -> None:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl(*new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority")
    for name in ("server", "client"):
        (directory / f"{name}.ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        request = ["req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key"]
        openssl(*request, "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"]
        extra = ["-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem"]
        openssl(*sign, *extra)
    key, certificate, ca = (
        json.dumps((directory / name).read_text())
        for name in ("server.key", "server.pem", "ca.pem")
    )
    text = f"server_key: {key}\nserver_cert: {certificate}\n"
    (directory / "server.ssl").write_text(text)
    (directory / "mutual.ssl").write_text(f"{text}custom_ca: {ca}\nclient_verify: true\n")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A browser that looks at pages."""
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
