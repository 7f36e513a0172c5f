"""deploy/Dockerfile: each image holds what its code imports, in the locked versions."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "deploy" / "images"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
PACKAGES = {  # top-level module -> the package that brings it, where the names differ
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "tensorflow_serving": "tensorflow-serving-api",
}


def requirements(name: str) -> set[str]:
    return set((IMAGES / name).read_text(encoding="utf-8").split())


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reached(*starts: Path) -> set[str]:
    """Packages needed by these files and by all of ours that they import."""
    waiting, seen, foreign = list(starts), set(), set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in imported(path):
            ours = ROOT / (module.replace(".", "/") + ".py")
            if ours.exists():
                waiting.append(ours)
            elif module.partition(".")[0] != "serving":
                foreign.add(module.partition(".")[0])
    return {PACKAGES.get(top, top) for top in foreign - set(sys.stdlib_module_names)}


def test_the_client_image_holds_what_the_client_imports():
    assert (
        reached(IMAGES / "ask.py") == requirements("client.txt") == {"grpcio", "numpy", "protobuf"}
    )


def test_the_server_image_holds_what_the_server_imports():
    assert reached(IMAGES / "model_server.py", IMAGES / "healthy.py") == requirements("server.txt")


@pytest.mark.parametrize("name", ["client.txt", "server.txt"])
def test_every_package_is_locked(name):
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for package in requirements(name):
        assert re.search(rf"^{re.escape(package)}==", lock, re.MULTILINE), package


def test_the_trainer_image_installs_what_the_project_declares(tmp_path):
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    command = [sys.executable, str(IMAGES / "declared.py"), "gpu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    declared = done.stdout.splitlines()
    assert any(line.startswith("keras-tuner") for line in declared)
    assert any(line.startswith("tensorflow[and-cuda]") for line in declared)


def test_every_image_runs_as_a_user_without_rights():
    for target in ("client", "server", "trainer", "tfx"):
        stage = DOCKERFILE.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
        assert re.search(r"^USER convoy$", stage, re.MULTILINE), target


def test_every_installation_is_held_to_the_lock():
    installs = re.findall(r"pip install (.*)", DOCKERFILE)
    assert len(installs) == 6
    for arguments in installs:
        held = re.search(r"--constraint requirements(-tfx)?\.lock", arguments)
        assert held or arguments == "--no-deps ."


def test_the_two_locks_hold_the_same_tensorflow_and_keras():
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-tfx.lock")]
    for package in ("tensorflow", "keras", "keras-tuner", "tensorflow-datasets"):
        found = [re.findall(rf"^{package}==(\S+)", lock, re.MULTILINE) for lock in locks]
        assert len(found[0]) == 1, package
        assert found[0] == found[1], package


def test_what_the_dockerfile_copies_is_sent_to_the_engine():
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert any(source == line[1:] or source.startswith(f"{line[1:]}/") for line in sent)
