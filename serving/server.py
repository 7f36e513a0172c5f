"""The embedded server: TensorFlow Serving's API on a laptop, in tests and in CI."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from serving import catalog, manifest, settings
from serving.errors import ConfigError
from serving.poller import Poller
from serving.predictor import Predictor
from serving.registry import Registry
from serving.servable import SavedModel, Servable
from serving.service import ModelService, PredictionService
from serving.version import Retries
from serving.warmup import warm_up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServerSettings:
    """How a server listens and looks for models. Port 0 picks a free one; seconds throughout."""

    config: Path  # a text-format ModelServerConfig
    store: Path | None = None  # what the configuration calls /models
    host: str = "127.0.0.1"
    port: int = 8500
    threads: int = 64  # requests under way at a time; most of them wait for their batch
    poll_config: float = 1.0
    poll_versions: float = 1.0
    max_message_bytes: int = 64 << 20
    retries: Retries = Retries()
    lenient_labels: bool = False


def of_store(store: Path, host: str = "127.0.0.1", port: int = 8500) -> ServerSettings:
    """Settings for a server beside a store."""
    root = store.resolve()
    return ServerSettings(config=root / catalog.CONFIG, store=root, host=host, port=port)


def load(directory: Path) -> Servable:
    """Verify, load and warm up a version. Raises whatever is wrong with it."""
    if (directory / manifest.MANIFEST).exists():
        manifest.verify(directory)
    servable = SavedModel(directory)
    try:
        warm_up(servable, directory)
    except BaseException:
        servable.close()
        raise
    return servable


class ModelServer:
    """A server in this process. Use it in a `with` block, or call start and stop.

    `start` returns when every version that should be served was loaded, or failed to, and the ports
    are open. Raises ConfigError when the configuration cannot be read or the port is taken.
    """

    def __init__(self, server: ServerSettings) -> None:
        self._settings = server
        self.registry = Registry(load, server.retries, server.lenient_labels)
        self._poller = Poller(
            [(server.poll_versions, self.registry.refresh), (server.poll_config, self._reload)]
        )
        self._configured: list[settings.ModelSettings] = []
        self._reported = ""
        self.grpc_address = ""

    def start(self) -> None:
        self._configured = settings.read_models(self._settings.config, self._settings.store)
        self.registry.configure(self._configured)
        self._grpc = self._listen()
        self._grpc.start()
        self._poller.start()

    def stop(self, grace: float = 30.0) -> None:
        """Take no new request, finish those under way within `grace` seconds, free the models."""
        self._grpc.stop(grace).wait()
        self._poller.stop()
        self.registry.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _listen(self) -> grpc.Server:
        limit = self._settings.max_message_bytes
        server = grpc.server(
            ThreadPoolExecutor(self._settings.threads, "convoy-grpc"),
            options=[
                ("grpc.max_send_message_length", limit),
                ("grpc.max_receive_message_length", limit),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a share
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(Predictor(self.registry)), server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self.registry), server
        )
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {address}: {error}") from None
        self.grpc_address = f"{self._settings.host}:{port}"
        return server

    def _reload(self) -> None:
        """Follow the configuration file; a bad one is reported once and changes nothing."""
        try:
            models = settings.read_models(self._settings.config, self._settings.store)
        except ConfigError as error:
            if str(error) != self._reported:
                log.error("keeping the last good configuration: %s", error)
            self._reported = str(error)
            return
        self._reported = ""
        if models != self._configured:
            self.registry.configure(models)
            self._configured = models
