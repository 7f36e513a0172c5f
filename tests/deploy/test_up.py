"""docker-compose on a real engine: train, serve, publish, roll back, and leave nothing behind."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.waiting import until

pytestmark = [pytest.mark.docker, pytest.mark.full, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parent.parent.parent
PROJECT = "convoytest"
OWNER = 1000  # compose's default for who trains
JOB = """
name = "digits"
[data]
source = "digits"
image_size = [32, 32]
channels = 1
[model]
name = "lenet5"
options = { activation = "relu", batch_norm = true }
[train]
epochs = 30
batch_size = 32
"""


@dataclass(frozen=True)
class Project:
    """A directory as a user has it after cloning, with images that are built."""

    path: Path
    engine: Any
    ports: tuple[int, int]

    def compose(self, *arguments: str) -> str:
        """Run docker-compose; gives its output."""
        grpc_port, rest_port = map(str, self.ports)
        chosen = {"GRPC_PORT": grpc_port, "REST_PORT": rest_port, "CONFIG": "job.toml"}
        done = subprocess.run(
            ["docker-compose", "-p", PROJECT, *arguments],
            cwd=self.path,
            env=self.engine.environment | chosen,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def train(self, seed: int) -> int:
        """Train in the trainer image and give the version that was published."""
        job = ["run", "job.toml", "--json", "--set", f"train.seed={seed}"]
        told = self.compose("run", "--rm", "train", *job)
        published = json.loads(told.strip().splitlines()[-1])
        assert published["status"] == "published"
        return int(published["version"])

    def ask(self, *server: str) -> list[dict[str, Any]]:
        """Ask about the sample images from the client image."""
        files = [f"samples/{path.name}" for path in sorted((self.path / "samples").iterdir())]
        told = self.compose("run", "--rm", "client", *server, "--model", "digits", *files)
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    def answers_with(self, version: int) -> bool:
        return {found["version"] for found in self.ask("--grpc", "serving:8500")} == {version}

    def state(self, service: str) -> dict[str, Any]:
        container = self.compose("ps", "-q", service).strip()
        (found,) = json.loads(self.engine.docker("inspect", container))
        return {**found["State"], "Restarts": found["RestartCount"]}

    def health(self, service: str) -> str:
        return str(self.state(service)["Health"]["Status"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_samples(directory: Path) -> list[str]:
    """Write ten digits as images; gives their true labels in the order of the names."""
    digits = load_digits()
    directory.mkdir()
    for index in range(10):
        pixels = np.uint8(digits.images[index] * 255 / 16)
        Image.fromarray(pixels).save(directory / f"{index}.png")
    return [str(label) for label in digits.target[:10]]


@pytest.fixture(scope="module")
def project(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Build the three images by compose, then lay out a fresh directory."""
    path = tmp_path_factory.mktemp("project")
    subprocess.run(
        ["docker-compose", "build", "client", "embedded", "train"],
        cwd=ROOT,
        env=engine.environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.copy(ROOT / "docker-compose.yml", path)
    shutil.copytree(ROOT / "deploy" / "monitoring", path / "deploy" / "monitoring")
    (path / "job.toml").write_text(JOB)
    path.chmod(0o755)  # as a clone is; pytest makes it private
    for name in ("models", "data", "runs"):  # what training writes, as a clone has it
        (path / name).mkdir()
        shutil.chown(path / name, OWNER, OWNER)
    shutil.chown(path, OWNER, OWNER)
    found = Project(path, engine, (free_port(), free_port()))
    yield found
    found.compose("down", "--volumes", "--remove-orphans")


def left_behind(engine: Any) -> dict[str, str]:
    """Containers, networks and volumes of the project, by what lists them."""
    label = f"label=com.docker.compose.project={PROJECT}"
    listings = ("ps -aq", "network ls -q", "volume ls -q")
    found = {listing: engine.docker(*listing.split(), "--filter", label) for listing in listings}
    return {listing: ids for listing, ids in found.items() if ids}


def test_a_model_is_trained_served_replaced_and_rolled_back(project: Project):
    labels = write_samples(project.path / "samples")
    project.compose("up", "-d", "embedded")
    until(lambda: "make demo" in project.compose("logs", "embedded"), "the hint is logged", 60)
    assert project.state("embedded")["Running"]
    assert project.state("embedded")["Restarts"] == 0

    first = project.train(seed=1)
    until(lambda: project.health("embedded") == "healthy", "the server is healthy", 180)
    grpc = project.ask("--grpc", "serving:8500")
    rest = project.ask("--rest", "http://serving:8501")
    assert [found["version"] for found in grpc] == [first] * 10
    assert [found["label"] for found in grpc] == [found["label"] for found in rest]
    assert sum(found["label"] == true for found, true in zip(grpc, labels, strict=True)) >= 9

    second = project.train(seed=2)
    until(lambda: project.answers_with(second), "the new version is served", 60)
    project.compose("run", "--rm", "train", "models", "rollback", "digits")
    until(lambda: project.answers_with(first), "the version before is served again", 60)
    assert project.state("embedded")["Restarts"] == 0

    project.compose("down", "--volumes")
    assert left_behind(project.engine) == {}


def test_images_run_without_rights_and_hold_no_more_than_they_need(project: Project):
    run = ["run", "--rm", "--network", "none", "--entrypoint"]
    for image in ("convoy-client", "convoy-server", "convoy-trainer"):
        assert project.engine.docker(*run, "id", image, "-u") != "0"
    listed = {
        image: project.engine.docker(*run, "pip", image, "list", "--format=freeze").lower()
        for image in ("convoy-client", "convoy-server")
    }
    assert "tensorflow" not in listed["convoy-client"]
    for training in (
        "keras-tuner",
        "tensorflow-datasets",
        "scikit-learn",
        "matplotlib",
        "tf-keras",
    ):
        assert training not in listed["convoy-server"].replace("_", "-")
