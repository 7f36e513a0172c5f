"""docker-compose.yml: valid, and for stores of any state."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from serving.server import ModelServer
from serving.settings import Listen, of_store
from serving.store import Store

ROOT = Path(__file__).parent.parent.parent
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
PROFILES = sorted({profile for found in SERVICES.values() for profile in found.get("profiles", [])})


def test_training_writes_the_store_that_the_servers_read():
    store = SERVICES["serving"]["volumes"][0].removesuffix(":/models:ro")
    for service in ("train", "schedule"):
        assert f"{store}:/work/models" in SERVICES[service]["volumes"]


@pytest.mark.parametrize("profile", ["", *PROFILES])
@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not installed")
def test_compose_takes_every_profile(profile):
    chosen = ["--profile", profile] if profile else []
    done = subprocess.run(
        ["docker-compose", *chosen, "config", "--services"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "serving" in done.stdout.split()


def test_up_alone_starts_tensorflow_serving_on_a_store_that_it_cannot_change():
    default = [name for name, service in SERVICES.items() if "profiles" not in service]
    assert default == ["serving"]
    serving = SERVICES["serving"]
    assert serving["image"].endswith(":-tensorflow/serving:2.20.0}")  # no 2.21 was ever released
    assert serving["volumes"][0].endswith(":/models:ro")
    assert serving["restart"] == "unless-stopped"
    assert {"mem_limit", "cpus", "healthcheck"} <= set(serving)


def test_the_embedded_server_differs_from_tensorflow_serving_by_its_image_alone():
    embedded = dict(SERVICES["embedded"])
    for key in ("build", "profiles", "networks", "image"):
        embedded.pop(key)
    assert embedded == {key: value for key, value in SERVICES["serving"].items() if key != "image"}


def test_every_container_has_no_more_than_it_needs():
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["pids_limit"], name
        assert service.get("read_only") or name == "grafana", name  # which keeps a database
        for port in service.get("ports", []):
            assert port.startswith("${BIND:-127.0.0.1}:"), name
    written = [v for v in SERVICES["train"]["volumes"] if not v.endswith(":ro")]
    assert [v.rpartition(":")[2] for v in written] == ["/work/data", "/work/runs", "/work/models"]


def test_every_file_that_compose_mounts_is_there():
    mounts = [v for service in SERVICES.values() for v in service.get("volumes", [])]
    for source in (mount.partition(":")[0] for mount in mounts):
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
    for written in ("models", "data", "runs"):  # or the engine makes them as root
        assert (ROOT / written / ".gitignore").exists()


def unescaped(text: str, store: Path) -> str:
    """A compose string as the container's shell reads it, for a store that is not /models."""
    return text.replace("$$", "$").replace("/models/", f"{store}/")


def start(store: Path) -> "subprocess.Popen[str]":
    """Run the servers' entry point with a program that only says what it was started with."""
    programs = store.parent / "bin"
    programs.mkdir()
    (programs / "tensorflow_model_server").write_text('#!/bin/sh\necho "started $*"\n')
    (programs / "tensorflow_model_server").chmod(0o755)
    bash, option, script, name = SERVICES["serving"]["entrypoint"]
    return subprocess.Popen(
        [bash, option, unescaped(script, store), name, "--port=8500"],
        env={"PATH": f"{programs}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_empty_store_is_waited_for_and_what_to_do_is_said_once(tmp_path):
    store = Store(tmp_path / "models")
    store.create()
    with start(store.root) as process:
        assert process.stdout is not None
        assert "make demo" in process.stdout.readline()
        (store.root / "models.config").write_text('config { base_path: "/models/m" }')
        assert process.stdout.readline() == "started --port=8500\n"
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_waiting_for_a_first_model_ends_at_once_when_told_to(tmp_path):
    (tmp_path / "models").mkdir()
    with start(tmp_path / "models") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def health(rest_port: int) -> int:
    *_, check = SERVICES["serving"]["healthcheck"]["test"]
    command = check.replace("$$", "$").replace("/8501", f"/{rest_port}")
    return subprocess.run(["bash", "-c", command], check=False, capture_output=True).returncode


def test_the_health_check_passes_while_the_server_answers(tmp_path):
    store = Store(tmp_path / "models")
    store.create()
    with ModelServer(of_store(store.root, Listen(port=0, rest_port=0))) as server:
        port = int(server.rest_address.rpartition(":")[2])
        assert health(port) == 0
    deadline = time.monotonic() + 10
    while health(port) == 0:
        assert time.monotonic() < deadline, "a server that has stopped still passes"
