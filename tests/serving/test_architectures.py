"""Every architecture of the zoo, exported and served, survives requests that it cannot answer.

TensorFlow aborts the process on some of them (tensorflow#111453): nothing may get that far.
"""

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image as PillowImage

from pipeline.augment_config import AugmentConfig
from pipeline.dataset import DataInfo
from pipeline.standardize import Preparation
from serving.client import Client, Options
from serving.errors import ModelNotFound, RequestRejected
from tests.support.forkserver import ForkServer, Process
from tests.support.waiting import until
from trainer import network, zoo
from trainer.config import ModelConfig
from trainer.export import export

FAMILIES = [
    (zoo.mlp, "mlp"),
    (zoo.lenet, "lenet5"),
    (zoo.alexnet, "alexnet"),
    (zoo.chatfield, "cnn_f"),
    (zoo.vgg, "vgg11"),
    (zoo.googlenet, "googlenet"),
    (zoo.resnet, "resnet18"),
    (zoo.senet, "se_resnet18"),
    (zoo.blocks, "inception_bottleneck"),
    (zoo.applications, "applications/mobilenet"),
]
REPRESENTATIVES = {name for _, name in FAMILIES}
WRONG = 50

SERVE = """
import sys
from pathlib import Path
from serving.server import serve
from serving.settings import Listen, Loading, ServerSettings
settings = ServerSettings(config=Path(sys.argv[1]), listen=Listen(port=0, rest_port=None),
                          loading=Loading(poll_config=0.1))
serve(settings, lambda server: print(server.grpc_address, flush=True))
"""

Request = tuple[str, dict[str, Any]]  # signature, inputs


@dataclass(frozen=True)
class Server:
    """A process that serves what its configuration file names, one model at a time."""

    config: Path
    client: Client
    process: Process

    def serve(self, name: str, base: Path) -> None:
        """Replace the model in service, so that memory holds one, and wait for the new one."""
        entry = f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}'
        new = self.config.with_suffix(".new")
        new.write_text(f"model_config_list {{ {entry} }}\n")
        new.replace(self.config)
        until(lambda: self.available(name), f"{name} to be loaded")

    def available(self, name: str) -> bool:
        assert self.process.poll() is None, "the server has died"
        try:
            (status,) = self.client.status(name)
        except ModelNotFound:
            return False
        assert not status.error
        return status.state == "AVAILABLE"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, forkserver: ForkServer) -> Iterator[Server]:
    config = tmp_path_factory.mktemp("zoo") / "models.config"
    config.write_text("model_config_list {}\n")
    with forkserver.start("-c", SERVE, str(config)) as process:
        address = process.stdout.readline().strip()
        with Client(address, Options(timeout=60, retries=0)) as client:
            yield Server(config, client, process)


@pytest.fixture
def exported(name: str, tmp_path: Path) -> Iterator[Path]:
    """The untrained network as a version directory, deleted afterwards: some weigh a gigabyte."""
    entry = zoo.MODELS[name]
    shape = (4,) if entry.min_image_size is None else (entry.min_image_size,) * 2 + (3,)
    info = DataInfo("test", "0" * 64, tuple("abc"), {}, shape)
    config = ModelConfig(name=name)
    served = network.in_float32(network.build(config, info), config, info)
    prepare = Preparation(shape, entry.scaling, "antialias", AugmentConfig())
    directory = export(served, info, prepare, tmp_path / "model" / "1", card={})
    del served
    keras.backend.clear_session(free_memory=True)
    yield directory
    shutil.rmtree(directory.parent)


def parameters() -> list[Any]:
    return [
        pytest.param(
            name, marks=[pytest.mark.slow if name in REPRESENTATIVES else pytest.mark.full]
        )
        for name in zoo.MODELS
    ]


@pytest.mark.parametrize(("family", "name"), FAMILIES)
def test_every_family_is_represented(family: Any, name: str):
    assert name in family.VARIANTS


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", parameters())
def test_fifty_wrong_requests_leave_the_server_answering(name: str, server: Server, exported: Path):
    model = name.replace("/", "_")
    server.serve(model, exported.parent)
    size = zoo.MODELS[name].min_image_size
    random = np.random.default_rng(7)
    wrong = wrong_requests(random, size)
    assert len(wrong) == WRONG
    for signature, inputs in wrong:
        with pytest.raises(RequestRejected):
            server.client.infer(inputs, model=model, signature=signature)
    right = np.zeros((2, 4), np.float32) if size is None else np.zeros((2, size, size, 3), np.uint8)
    predictions = server.client.predict(right, model=model)
    assert len(predictions) == 2
    assert server.process.poll() is None


def wrong_requests(random: np.random.Generator, size: int | None) -> list[Request]:
    """Requests of a model for images of `size` pixels, or for 4 features: every one is wrong."""
    row = [4] if size is None else [size, size, 3]
    name, dtype = ("features", "float32") if size is None else ("image", "uint8")
    arrays = [wrong_array(random, row, dtype) for _ in range(34)]
    found: list[Request] = [("serving_default", {name: array}) for array in arrays]
    found += [("tf_example", {"examples": wrong_bytes(random)}) for _ in range(8)]
    if size is None:
        return found + [("class_labels", {"class_id": wrong_ids(random)}) for _ in range(8)]
    return found + [("image_bytes", {"image_bytes": wrong_bytes(random)}) for _ in range(8)]


def wrong_array(random: np.random.Generator, row: list[int], dtype: str) -> Any:
    """An array that differs from [N, *row] in rank, in a size, in type, or in all of them.

    Shapes of vectors and matrices are left to the model, as in TensorFlow Serving: it may take an
    empty batch, or one column for all.
    """
    while True:
        rank = random.choice([0, 1, 2, 3, 4, 4, 4, 5, 6])
        sizes = [0, 1, 2, 3, row[0] - 1, row[0], row[0] + 1]
        shape = [int(size) for size in random.choice(sizes, rank)]
        if random.random() < 0.5:  # near misses: right but for a side, or for the type
            shape = [2, *row]
            shape[random.integers(0, len(shape))] = int(random.choice(sizes))
        kind = str(random.choice([dtype, dtype, "int64", "float64", "bool", "float16"]))
        right = kind == dtype and shape[1:] == row and shape[0] > 0
        if len(row) == 1 and kind == dtype and len(shape) < 3:
            right |= 0 in shape or shape[-1:] in ([1], row)
        if not right and np.prod(shape) < 1e6:
            return np.zeros(shape, kind)


def wrong_bytes(random: np.random.Generator) -> Any:
    """Byte strings of which at least one is no image, or a tensor of the wrong rank."""
    noise = random.bytes(int(random.integers(1, 200)))
    file = io.BytesIO()
    PillowImage.fromarray(random.integers(0, 256, (9, 9, 3), np.uint8)).save(file, "PNG")
    image = file.getvalue()
    choices = [
        [noise],
        [b""],
        [image[: random.integers(4, len(image) - 40)]],  # cut off within its pixels
        [b"\xff\xd8\xff\xe0" + noise],  # begins like a JPEG
        [image, noise],
        [],
    ]
    if random.random() < 0.2:
        return np.full((2, 1), image, object)
    return np.array(choices[random.integers(0, len(choices))], object)


def wrong_ids(random: np.random.Generator) -> Any:
    """Classes that a model of three does not have."""
    return random.integers(3, 1 << 40, int(random.integers(1, 5)))
