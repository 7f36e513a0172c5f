"""The clients against a real server: inputs, results, errors, retries."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from serving.client import AsyncClient, Client, Options
from serving.errors import (
    ModelNotFound,
    RequestRejected,
    ServerUnavailable,
)
from serving.store import Store

CLASSES = ["zero", "one", "two"]


def images(*first_pixels: int) -> Any:
    batch = np.zeros((len(first_pixels), 4, 4, 1), np.uint8)
    batch[:, 0, 0, 0] = first_pixels
    return batch


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def client(server: Any) -> Iterator[Client]:
    with Client(server.grpc_address) as client:
        yield client


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    PillowImage.fromarray(images(1)[0, :, :, 0]).save(path)
    return path


def test_a_batch_is_classified_in_order(client: Client, served_store: Store):
    predictions = client.predict(images(2, 0, 1), model="shapes")
    assert [prediction.label for prediction in predictions] == ["two", "zero", "one"]
    assert [prediction.class_id for prediction in predictions] == [2, 0, 1]
    assert {prediction.version for prediction in predictions} == {served_store.live("shapes")}
    assert all(0.85 < prediction.probability < 0.95 for prediction in predictions)


def test_one_image_needs_no_batch_axis(client: Client):
    (prediction,) = client.predict(images(1)[0], model="shapes")
    assert prediction.label == "one"


def test_top_classes_come_with_names_in_falling_order(client: Client):
    (prediction,) = client.predict(images(2), model="shapes", top=2)
    assert [score.label for score in prediction.top] == ["two", "zero"]
    (prediction,) = client.predict(images(2), model="shapes", top=9)
    assert [score.label for score in prediction.top] == ["two", "zero", "one"]
    assert sum(score.probability for score in prediction.top) == pytest.approx(1, abs=1e-6)


def test_files_and_bytes_and_arrays_agree(client: Client, png: Path):
    (from_pixels,) = client.predict(images(1), model="shapes")
    (from_path,) = client.predict(png, model="shapes")
    (from_name,) = client.predict([str(png)], model="shapes")
    (from_bytes,) = client.predict(png.read_bytes(), model="shapes")
    assert from_pixels == from_path == from_name == from_bytes


def test_mixed_inputs_keep_their_order(client: Client, png: Path):
    mixed = [images(0)[0], png, png.read_bytes(), images(2)[0]]
    labels = [prediction.label for prediction in client.predict(mixed, model="shapes")]
    assert labels == ["zero", "one", "one", "two"]


def test_an_empty_input_gives_no_predictions(client: Client):
    assert client.predict([], model="shapes") == []
    assert client.predict(images(), model="shapes") == []


def test_a_long_input_is_cut_and_comes_back_in_order(server: Any):
    pixels = [n % 256 for n in range(1000)]
    with Client(server.grpc_address, Options(batch_size=7, concurrency=3)) as client:
        predictions = client.predict(images(*pixels), model="shapes")
    assert [prediction.class_id for prediction in predictions] == [n % 3 for n in pixels]


def test_a_stream_yields_results_before_its_source_ends(server: Any):
    drawn = 0

    def source() -> Iterator[Any]:
        nonlocal drawn
        while True:
            drawn += 1
            yield images(drawn % 3)[0]

    with Client(server.grpc_address, Options(batch_size=2, concurrency=2)) as client:
        stream = client.stream(source(), model="shapes")
        assert [next(stream).class_id for _ in range(4)] == [1, 2, 0, 1]
        assert drawn <= 12


def test_version_and_label_choose_the_model(client: Client, served_store: Store):
    version = served_store.live("shapes")
    assert client.predict(images(0), model="shapes", version=version)[0].version == version
    assert client.predict(images(0), model="shapes", label="stable")[0].version == version
    with pytest.raises(ValueError, match="names a version or a label, got version=1"):
        client.predict(images(0), model="shapes", version=1, label="stable")


def test_any_signature_can_be_called_with_tensors(client: Client):
    outputs = client.infer(
        {"class_id": np.array([2, 0], np.int64)}, model="shapes", signature="class_labels"
    )
    assert outputs["label"].tolist() == [b"two", b"zero"]


def test_status_and_signatures_describe_the_model(client: Client, served_store: Store):
    (status,) = client.status("shapes")
    assert (status.version, status.state, status.error) == (
        served_store.live("shapes"),
        "AVAILABLE",
        "",
    )
    signatures = client.signatures("shapes")
    assert signatures["serving_default"].inputs == {"image": (4, (-1, 4, 4, 1))}
    assert signatures["image_bytes"].inputs == {"image_bytes": (7, (-1,))}


def test_an_unknown_model_is_named(client: Client):
    with pytest.raises(ModelNotFound, match=r"Servable not found for request: Latest\(nope\)"):
        client.predict(images(0), model="nope")


def test_a_file_that_is_no_image_is_refused_in_one_line(client: Client):
    with pytest.raises(RequestRejected, match="refused the request: Unknown image") as caught:
        client.predict(b"no image", model="shapes")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        images(0)[0, :, :, 0],
        images(0).astype(np.float32),
        images(0).astype(np.int64),
        [images(0)],
        [3],
    ],
)
def test_a_wrong_array_is_refused_before_it_is_sent(client: Client, wrong: Any):
    with pytest.raises(ValueError, match=r"\[(N, )?H, W, C\]|Send a NumPy array"):
        client.predict(wrong, model="shapes")


@pytest.mark.parametrize(
    "wrong", [{"timeout": 0}, {"batch_size": 0}, {"concurrency": -1}, {"retries": -1}]
)
def test_wrong_options_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        Options(**wrong)


def test_a_server_that_is_not_there_is_named_within_seconds():
    address = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    with (
        Client(address, Options(retries=2)) as client,
        pytest.raises(
            ServerUnavailable, match=f"no server is available at {address}.*convoy serve"
        ),
    ):
        client.predict(images(0), model="shapes")
    assert time.monotonic() - started < 5


def test_the_asyncio_client_gives_the_same_answers(server: Any, client: Client, png: Path):
    mixed = [png, *images(*range(40))]

    async def ask() -> Any:
        async with AsyncClient(server.grpc_address, Options(batch_size=8)) as other:
            predictions = await other.predict(mixed, model="shapes", top=2)
            status = await other.status("shapes")
            signatures = await other.signatures("shapes")
            names = {"class_id": np.array([1], np.int64)}
            label = await other.infer(names, model="shapes", signature="class_labels")
            return predictions, status, signatures, label["label"].tolist()

    predictions, status, signatures, label = asyncio.run(ask())
    assert predictions == client.predict(mixed, model="shapes", top=2)
    assert status == client.status("shapes")
    assert signatures == client.signatures("shapes")
    assert label == [b"one"]


def test_the_asyncio_client_raises_the_same_errors(server: Any):
    async def ask(model: str) -> None:
        async with AsyncClient(server.grpc_address) as other:
            await other.predict(images(0), model=model)

    with pytest.raises(ModelNotFound, match="Latest"):
        asyncio.run(ask("nope"))


def test_the_client_imports_no_tensorflow():
    code = (
        "import sys; import serving.client\n"
        "print({'tensorflow', 'keras', 'sklearn', 'matplotlib', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
