"""`convoy serve`, `predict` and `bench-serving` as a user runs them, on one real server process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image as PillowImage
from typer.testing import CliRunner

from jobs.commands.bench import bench_serving
from jobs.exits import FAILED, USAGE, CommandError
from serving.exchange import Signature
from serving.load import invent
from serving.store import Store
from tests.support.forkserver import ForkServer
from tests.support.publishing import put_in_service
from tests.support.workplace import Workplace

app = typer.Typer()
app.command()(bench_serving)


@pytest.fixture(scope="module")
def store(classifiers: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """`shapes` with a stable version and a canary that answers otherwise."""
    store = Store(tmp_path_factory.mktemp("commands") / "models")
    store.publish("shapes", classifiers[0], label="stable")
    put_in_service(store, "shapes", classifiers[1], "canary")
    return store


@pytest.fixture(scope="module")
def address(store: Store, forkserver: ForkServer) -> Iterator[str]:
    with Workplace(store.root.parent, forkserver).serving(store.root) as address:
        yield address


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of 60 images whose class in the stable version is their number modulo 3."""
    directory = tmp_path_factory.mktemp("images")
    for number in range(60):
        pixels = np.full((4, 4), number, np.uint8)
        PillowImage.fromarray(pixels).save(directory / f"{number:02}.png")
    (directory / "notes.txt").write_text("no image, and passed over")
    return directory


PREDICT = ("-m", "jobs", "predict", "--model", "shapes")
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def predict(forkserver: ForkServer) -> Callable[..., Done]:
    """`convoy predict`, run to its end."""
    return lambda *arguments: forkserver.run(*PREDICT, *map(str, arguments), timeout=60)


def passed_over(images: Path) -> str:
    return f"{images}: passed over, 1 in all: *.txt: 1 ({images / 'notes.txt'})\n"


def answers(done: Done, told: str = "") -> Any:
    assert done.returncode == 0, done.stderr
    assert done.stderr == told
    return json.loads(done.stdout)


def test_labels_choose_between_the_stable_version_and_the_canary(
    address: str, images: Path, store: Store, predict: Callable[..., Done]
):
    ask = (images / "01.png", "--address", address, "--json")
    labels = store.labels("shapes")
    for label, expected in (("stable", "one"), ("canary", "two")):
        (answer,) = answers(predict(*ask, "--label", label))
        assert (answer["label"], answer["version"]) == (expected, labels[label])
        (answer,) = answers(predict(*ask, "--version", labels[label]))
        assert answer["label"] == expected


def test_a_directory_is_answered_in_order(address: str, images: Path, predict: Callable[..., Done]):
    options = ("--address", address, "--label", "stable", "--top", 2, "--json")
    found = answers(predict(images, *options), told=passed_over(images))
    assert [answer["class_id"] for answer in found] == [number % 3 for number in range(60)]
    assert found[0]["file"] == str(images / "00.png")
    assert [entry["label"] for entry in found[1]["top"]] == ["one", "zero"]


def test_many_files_show_a_bar_on_a_terminal_and_only_there(address: str, images: Path):
    command = [sys.executable, *PREDICT, str(images), "--address", address]

    def shown(force_color: str) -> Done:  # Rich looks for a terminal when it is imported
        environment = os.environ | {"FORCE_COLOR": force_color}
        return subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=60, check=True
        )

    seen = shown("1")
    assert "predicting" in seen.stderr
    assert "predicting" not in seen.stdout
    assert shown("").stderr == passed_over(images)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--label", "next"], FAILED, "Unrecognized servable version label: next"),
        (["--version", "7"], FAILED, "does not serve that model or version"),
        (["--version", "7", "--label", "stable"], USAGE, "give one of them"),
        (["--model", "nothing"], FAILED, "does not serve that model or version"),
        (["elsewhere"], USAGE, "cannot read elsewhere"),
    ],
)
def test_what_cannot_be_predicted_ends_with_a_code_and_one_line(
    address: str,
    images: Path,
    predict: Callable[..., Done],
    arguments: list[str],
    code: int,
    message: str,
):
    done = predict(images / "01.png", "--address", address, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def bench(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["--model", "shapes", *map(str, arguments)])


def test_a_benchmark_of_made_up_images(address: str):
    done = bench("--address", address, "--seconds", 0.6, "--rows", 3, "--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert (found["model"], found["address"], found["rows"]) == ("shapes", address, 3)
    assert [run["callers"] for run in found["runs"]] == [1, 8, 32]
    for run in found["runs"]:
        assert 0 < run["p50_ms"] <= run["p90_ms"] <= run["p99_ms"]
        assert run["images_per_second"] == pytest.approx(3 * run["requests_per_second"], rel=0.01)
        assert run["failures"] == {}


def test_a_benchmark_of_files_as_a_table(address: str, images: Path):
    options = ("--seconds", 0.2, "--callers", 2, "--rows", 100, "--label", "canary")
    done = bench(images, "--address", address, *options)
    assert done.exit_code == 0, done.exception
    assert f"shapes at {address}, 60 images in each request" in done.stdout
    assert "p99 ms" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--version", "7"], FAILED, "does not serve that model or version"),
        (["--label", "next"], FAILED, "Unrecognized servable version label: next"),
        (["--version", "7", "--label", "stable"], USAGE, "names a version or a label"),
        (["elsewhere"], USAGE, "cannot read elsewhere"),
    ],
)
def test_a_benchmark_that_cannot_begin_says_why(
    address: str, arguments: list[str], code: int, message: str
):
    problem = bench("--address", address, *arguments).exception
    assert isinstance(problem, CommandError)
    assert problem.code == code
    assert message in str(problem)


def test_a_benchmark_of_files_that_the_model_refuses(address: str, tmp_path: Path):
    large = tmp_path / "large.png"
    PillowImage.fromarray(np.zeros((9, 9), np.uint8)).save(large)
    problem = bench(large, "--address", address).exception
    assert isinstance(problem, CommandError)
    assert problem.code == FAILED
    assert f"{address} refused the request" in str(problem)


def test_examples_are_made_up_for_pixels_and_features_alone():
    pixels = invent(Signature({"image": (4, (-1, 5, 6, 3))}, {}), rows=2)
    assert pixels.shape == (2, 5, 6, 3)
    assert pixels.dtype == np.uint8
    assert pixels.max() > 200
    features = invent(Signature({"features": (1, (-1, 4))}, {}), rows=2)
    assert features.shape == (2, 4)
    assert features.dtype == np.float32
    unknown: list[dict[str, tuple[int, tuple[int, ...]]]]
    unknown = [{"image": (4, (-1, -1, 6, 3))}, {"words": (7, (-1,))}, {}]
    for inputs in unknown:
        with pytest.raises(ValueError, match="Give image files"):
            invent(Signature(inputs, {}), rows=2)
