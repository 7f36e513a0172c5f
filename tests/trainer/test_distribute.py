"""Several replicas train as one device does: two virtual CPUs, and two processes."""

import contextlib
import inspect
import json
import socket
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.support.forkserver import ForkServer, Process
from tests.support.once import Once
from tests.trainer.replicas import train
from trainer.cluster import Cluster
from trainer.distribute import choose

PROGRAM = str(Path(__file__).with_name("replicas.py"))
COMPARED = ("clipped", "batch_norm", "averaged")
WORKERS = 2


def start(forkserver: ForkServer, place: Path, data_dir: Path, kind: str, *parts: str) -> Process:
    place.mkdir()
    return forkserver.start(PROGRAM, str(place), str(data_dir), kind, *parts)


def finish(*processes: Process) -> None:
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.enter_context(process)
        for process in processes:
            _, errors = process.communicate()
            assert process.returncode == 0, errors


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
def trained(once: Once, data_dir: Path, forkserver: ForkServer) -> dict[str, Path]:
    """The same training on one device, and on two in a process that has two."""

    def make(path: Path) -> None:
        parts = (*COMPARED, "overflow", "accumulated", "compiled")
        two = start(forkserver, path / "mirrored", data_dir, "mirrored", *parts)
        with two:
            (path / "plain").mkdir()
            for part in COMPARED:
                train(part, path / "plain", str(data_dir), None)
            finish(two)

    place = once.made("replicas", make)
    return {kind: place / kind for kind in ("plain", "mirrored")}


@pytest.mark.parametrize("part", COMPARED)
def test_two_devices_train_like_one(trained, part):
    assert furthest(*(weights(place, part) for place in trained.values())) < 1e-5


@pytest.mark.parametrize("part", COMPARED)
def test_validation_counts_every_row_once(trained, part):
    one, two = (told(place, part) for place in trained.values())
    for plain, mirrored in zip(one, two, strict=True):
        assert mirrored["val_accuracy"] == pytest.approx(plain["val_accuracy"])
        assert mirrored["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-4)
        assert mirrored["loss"] == pytest.approx(plain["loss"], rel=1e-4)


def test_one_replica_without_finite_gradients_makes_all_skip_the_step(trained):
    assert told(trained["mirrored"], "overflow") == {"same": True, "halved": True}


def test_what_devices_cannot_do_together_is_refused(trained):
    error = told(trained["mirrored"], "accumulated")["error"]
    assert "train.accumulation_steps is 3, and Keras cannot accumulate gradients over 2" in error
    assert 'train.jit = "on" does nothing on' in told(trained["mirrored"], "compiled")["error"]


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
def test_two_processes_train_like_one(trained, data_dir, forkserver, tmp_path):
    ports = ",".join(free_ports(WORKERS))
    places = [tmp_path / str(index) for index in range(WORKERS)]
    finish(
        *(
            start(forkserver, place, data_dir, f"{index}:{ports}", "talk", "clipped", "batch_norm")
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
