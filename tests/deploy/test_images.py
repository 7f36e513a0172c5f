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


SERVED = reached(IMAGES / "model_server.py", IMAGES / "healthy.py")


def test_the_client_image_holds_what_the_client_imports():
    assert (
        reached(IMAGES / "ask.py") == requirements("client.txt") == {"grpcio", "numpy", "protobuf"}
    )


def test_the_server_image_holds_what_the_server_imports():
    taken = {"tensorflow-cpu" if name == "tensorflow" else name for name in SERVED}
    assert taken == requirements("server.txt")


@pytest.mark.parametrize("name", ["client", "server"])
def test_every_package_is_locked_with_its_hashes(name):
    locked = versions(IMAGES / f"{name}.lock")
    assert requirements(f"{name}.txt") <= locked.keys()
    run = versions(ROOT / "requirements.lock")
    run |= {"tensorflow-cpu": run["tensorflow"]}
    assert locked.items() <= run.items()  # the same versions as everywhere else
    assert not {"tensorflow", "keras-tuner"} & locked.keys()


def test_the_lock_to_run_is_a_part_of_the_lock_to_develop():
    run, develop = (
        versions(ROOT / name) for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert run.items() <= develop.items()
    assert {"setuptools", "pytest", "mypy"} <= develop.keys()
    assert "setuptools" in run  # builds our own package, without isolation
    assert not {"pytest", "mypy"} & run.keys()


def versions(lock: Path) -> dict[str, str]:
    """The version of each package of a lock, of which every file has a hash."""
    found = {}
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        name, _, rest = entry.partition("==")
        assert "--hash=sha256:" in rest, entry
        found[name] = rest.split()[0]
    return found


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
    assert len(installs) == 7
    hashed = [found for found in installs if "--require-hashes" in found]
    assert len(hashed) == 3
    for arguments in set(installs) - set(hashed):
        held = re.search(r"--constraint (requirements-tfx\.lock|installed\.txt)", arguments)
        assert held or arguments in ("--no-deps .", "--no-deps --no-build-isolation .")


def test_the_two_locks_hold_the_same_tensorflow_and_keras():
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-tfx.lock")]
    for package in ("tensorflow", "keras", "keras-tuner", "tensorflow-datasets"):
        found = [re.findall(rf"^{package}==([^\s\\]+)", lock, re.MULTILINE) for lock in locks]
        assert len(found[0]) == 1, package
        assert found[0] == found[1], package


def test_what_the_dockerfile_copies_is_sent_to_the_engine():
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert any(source == line[1:] or source.startswith(f"{line[1:]}/") for line in sent)
