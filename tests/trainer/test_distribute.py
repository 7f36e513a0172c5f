"""Several replicas train as one device does: two virtual CPUs, and two processes."""

import contextlib
import inspect
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.cluster import Cluster
from trainer.distribute import choose

ROOT = Path(__file__).parents[2]
COMPARED = ("clipped", "batch_norm", "averaged")
WORKERS = 2


def start(place: Path, data_dir: Path, kind: str, *parts: str) -> subprocess.Popen[str]:
    place.mkdir()
    command = [sys.executable, str(Path(__file__).with_name("replicas.py"))]
    return subprocess.Popen(
        [*command, str(place), str(data_dir), kind, *parts],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> None:
    try:
        for process in processes:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()


def free_ports(count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in sockets]


def weights(place: Path, part: str) -> list[np.ndarray]:
    with np.load(place / f"{part}.npz") as archive:
        return [archive[name] for name in archive.files]


def told(place: Path, part: str) -> Any:
    return json.loads((place / f"{part}.json").read_text())


def furthest(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> dict[str, Path]:
    """The same training on one device and on two, each in a process of its own."""
    places = {kind: tmp_path_factory.mktemp("replicas") / kind for kind in ("plain", "mirrored")}
    parts = (*COMPARED, "overflow", "accumulated")
    finish(
        start(places["plain"], data_dir, "plain", *COMPARED),
        start(places["mirrored"], data_dir, "mirrored", *parts),
    )
    return places


@pytest.mark.parametrize("part", COMPARED)
def test_two_devices_train_like_one(trained, part):
    assert furthest(*(weights(place, part) for place in trained.values())) < 1e-5


@pytest.mark.parametrize("part", COMPARED)
def test_validation_counts_every_row_once(trained, part):
    one, two = (told(place, part) for place in trained.values())
    for plain, mirrored in zip(one, two, strict=True):
        assert mirrored["val_accuracy"] * 145 == pytest.approx(plain["val_accuracy"] * 145)
        assert mirrored["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-4)
        assert mirrored["loss"] == pytest.approx(plain["loss"], rel=1e-4)


def test_one_replica_without_finite_gradients_makes_all_skip_the_step(trained):
    assert told(trained["mirrored"], "overflow") == {"same": True, "halved": True}


def test_what_devices_cannot_do_together_is_refused(trained):
    error = told(trained["mirrored"], "accumulated")["error"]
    assert "train.accumulation_steps is 3, and Keras cannot accumulate gradients over 2" in error


def test_keras_has_the_private_hooks_that_are_replaced():
    """Keras 3.15 is pinned for them; a later version must be read before it is let in."""
    names = ("_maybe_symbolic_build", "_make_function", "_get_metrics_result_or_logs")
    signatures = [list(inspect.signature(getattr(keras.Model, name)).parameters) for name in names]
    assert signatures == [
        ["self", "iterator", "data_batch"],
        ["self", "step_function"],
        ["self", "logs"],
    ]
    reduce = keras.optimizers.Adam._all_reduce_sum_gradients
    assert list(inspect.signature(reduce).parameters) == ["self", "grads_and_vars"]


def test_one_device_needs_no_strategy():
    strategy, why = choose(Cluster(("127.0.0.1:1",), 0))
    assert strategy is None
    assert why


@pytest.mark.slow
def test_two_processes_train_like_one(trained, data_dir, tmp_path):
    ports = ",".join(free_ports(WORKERS))
    places = [tmp_path / str(index) for index in range(WORKERS)]
    finish(
        *(
            start(place, data_dir, f"{index}:{ports}", "talk", "clipped", "batch_norm")
            for index, place in enumerate(places)
        )
    )
    for part in ("clipped", "batch_norm"):
        chief, other = (weights(place, part) for place in places)
        assert furthest(chief, other) == 0.0
        assert furthest(chief, weights(trained["plain"], part)) < 1e-5
        assert told(places[0], part)[0]["val_loss"] == pytest.approx(
            told(trained["plain"], part)[0]["val_loss"], rel=1e-4
        )
    assert (places[0] / "clipped" / "checkpoints").is_dir()
    assert not (places[1] / "clipped" / "checkpoints").exists()  # the chief alone writes
    assert not (places[1] / "clipped" / "history.csv").exists()
    for place in places:
        facts = told(place, "talk")
        assert facts["due"] == [True, False]  # by the chief's clock alone
        assert facts["stopping"] == [False, True]
        assert (facts["message"], facts["silence"]) == ("hello", "")
        assert facts["told"]["text"][1] == "Grüße"
        assert facts["told"]["numbers"] == ["float32", [[np.float32(0.1).item()] * 3] * 2]
        assert facts["told"]["large"] == ["uint32", [2**32 - 1]]
