"""The embedded server: TensorFlow Serving's API on a laptop, in tests and in CI."""

import gc
import logging
import math
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.access import Guard, read_tokens
from serving.deferred import deferred
from serving.described import SERVICES, Reflection, in_threads
from serving.errors import ConfigError
from serving.exchange import PREDICT
from serving.followed import Followed
from serving.loader import Loader
from serving.observation import ServerMetrics
from serving.poller import Poller
from serving.predictor import Predictor
from serving.registry import Registry
from serving.request_log import DailyFile, RequestLog
from serving.rest import Rest
from serving.service import ModelService, PredictionService
from serving.settings import ServerSettings, bracketed
from serving.tls import credentials, read_tls
from serving.watch import ConfigWatch
from serving.web import WebServer

log = logging.getLogger(__name__)

QUIET_SECONDS = 0.2  # so long without a knock means that callers have noticed
GOODBYE_SECONDS = 1.0  # for the last answers to leave
LOOK_SECONDS = 0.5  # between two looks for a signal
OTHER_THREADS = 64  # for all methods but these; most of them wait for their batch
HEALTH_THREADS = 2
CONNECTIONS = [  # gRPC's arguments against those who only hold on to one
    ("grpc.max_concurrent_streams", 1024),  # of one connection; more wait at the caller
    ("grpc.max_connection_idle_ms", 15 * 60_000),
    ("grpc.keepalive_time_ms", 60_000),  # a caller that is gone is seen
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
]
MOST_CALLS = 8192  # under way at a time: a queue of 1,024 for each of a few models


class ModelServer:
    """A server in this process. Use it in a `with` block, or call start and stop.

    Addresses are HOST:PORT, empty where the server does not listen.
    """

    def __init__(self, settings: ServerSettings) -> None:
        loading = settings.loading
        self._settings = settings
        self.metrics = ServerMetrics()
        self.registry = Registry(
            Loader(settings, self.metrics), loading.retries, loading.lenient_labels
        )
        self._log_file = DailyFile(settings.log_directory) if settings.log_directory else None
        observers = [self.metrics.observe]
        if settings.log_rate:
            write = self._log_file.write if self._log_file else None
            observers.append(RequestLog(settings.log_rate, write).observe)
        self._predictor = Predictor(
            self.registry, settings.limits, observers, settings.check_methods
        )
        self._watch = ConfigWatch(settings, self.registry)
        self._poller = Poller(
            [
                (loading.poll_versions, self.registry.refresh),
                (loading.poll_config, self._watch.poll),
                (1.0, self._report_health),
            ]
        )
        self._health = health.HealthServicer()
        listen = settings.listen
        self._tls = Followed(listen.tls, read_tls) if listen.tls else None
        self._guard = (
            Guard(Followed(listen.tokens, read_tokens), self.metrics.callers.add)
            if listen.tokens
            else None
        )
        self._web: WebServer | None = None
        self.grpc_address = ""
        self.rest_address = ""

    def start(self, ending: threading.Event | None = None) -> bool:
        """Load the models and open the ports; return whether it did before `ending` was set.

        As tensorflow_model_server, it does not listen before every model has a version that
        answers: it waits for a model's first version to appear, and raises ConfigError, after one
        try, when none of those that are there can be loaded. Without `loading.as_production` it
        listens all the same. Raises ConfigError as well when the configuration is wrong or a port
        is taken.
        """
        self._watch.start()
        try:
            strict = self._settings.loading.as_production
            if strict and not self._models_come(ending or threading.Event()):
                self.registry.close()
                return False
            self._open()
        except BaseException:
            self.registry.close()
            raise
        self._report_health()
        self._grpc.start()
        if self._web:
            self._web.start()
        self._poller.start()
        for problem in self._problems().values():
            log.warning("%s", problem)
        log.info("listening grpc=%s rest=%s", self.grpc_address, self.rest_address)
        return True

    def stop(self, grace: float | None = None) -> None:
        """Take no new request, finish those under way within `grace` seconds, free the models."""
        seconds = self._settings.drain_seconds if grace is None else grace
        self._poller.stop()
        self._health.enter_graceful_shutdown()
        self._predictor.gate.close()
        self._predictor.gate.wait_until_quiet(QUIET_SECONDS, seconds)
        stopped = self._grpc.stop(GOODBYE_SECONDS)
        if self._web:
            self._web.stop(GOODBYE_SECONDS)
        stopped.wait()
        self.registry.close()
        if self._log_file:
            self._log_file.close()

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

    def _models_come(self, ending: threading.Event) -> bool:
        """Wait for a first version of every model; False when the end comes before."""
        seconds = self._settings.loading.poll_versions or math.inf  # without polls none will come
        told: set[str] = set()
        while absent := self._watch.unavailable():
            for model in absent:
                for name, reason in model.missing().items():
                    if reason not in told:
                        log.warning("not listening yet, waiting for %s: %s", name, reason)
                    told.add(reason)
            due = time.monotonic() + seconds
            while (left := due - time.monotonic()) > 0:
                if ending.wait(min(left, LOOK_SECONDS)):
                    return False
            self.registry.refresh()
        return True

    def _open(self) -> None:
        listen = self._settings.listen
        self._grpc = self._make_grpc()
        if listen.port is not None:
            host = bracketed(listen.host)
            port = self._bind(f"{host}:{listen.port}")
            self.grpc_address = f"{host}:{port}"
        if listen.socket:
            self._bind(f"unix:{listen.socket}")
        if listen.rest_port is not None:
            rest = Rest(
                self._predictor,
                listen.rest_seconds,
                self._settings.metrics,
                self.metrics.page,
                listen.cors,
                self._guard.admits if self._guard else None,
                self._problems,
            )
            limit = self._settings.limits.body_bytes
            tls = self._tls if listen.rest_tls else None
            self._web = WebServer(listen.host, listen.rest_port, rest, limit, tls)
            self.rest_address = self._web.address

    def _make_grpc(self) -> grpc.Server:
        listen = self._settings.listen
        limit = self._settings.limits.message_bytes
        server = grpc.server(
            ThreadPoolExecutor(OTHER_THREADS, "convoy-grpc"),
            interceptors=[self._guard] if self._guard else [],
            maximum_concurrent_rpcs=MOST_CALLS,
            options=[
                ("grpc.max_send_message_length", limit),
                ("grpc.max_receive_message_length", limit),
                ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a share
                *CONNECTIONS,
                *listen.arguments,
            ],
        )
        service = PredictionService(self._predictor)
        threads = ThreadPoolExecutor(listen.threads, "convoy-predict")
        messages = (predict_pb2.PredictRequest, predict_pb2.PredictResponse)
        predict = deferred(PREDICT, service.start_predict, *messages, threads)
        server.add_generic_rpc_handlers((predict,))  # first, and so before the service's own
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self.registry, self._watch.replace, self.metrics.count, listen.reload),
            server,
        )
        health_threads = ThreadPoolExecutor(HEALTH_THREADS, "convoy-health")
        check = in_threads(health_threads, self._health.Check)
        self._health.Check = check  # type: ignore[method-assign]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if listen.reflection:
            names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            add_reflection: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
            add_reflection(Reflection(names), server)
        return server

    def _bind(self, address: str) -> int:
        try:
            if self._tls:
                return self._grpc.add_secure_port(address, credentials(self._tls))
            return self._grpc.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(f"cannot listen on {address}: {error}") from None

    def _problems(self) -> dict[str, str]:
        """What an operator should know although requests are answered."""
        fault = self._tls.current().fault() if self._tls else ""
        return self.registry.problems() | ({"certificate": fault} if fault else {})

    def _report_health(self) -> None:
        status = health_pb2.HealthCheckResponse
        ready = status.SERVING if self.registry.ready() else status.NOT_SERVING
        for name in ("", *SERVICES):
            self._health.set(name, ready)


def serve(settings: ServerSettings, ready: Callable[[ModelServer], None]) -> None:
    """Run a server until SIGTERM or SIGINT, then drain it. Call it in the main thread.

    `ready` is called once the ports are open. Raises ConfigError.
    """
    ending = threading.Event()

    def end(number: int, frame: Any) -> None:
        ending.set()

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    server = ModelServer(settings)
    try:
        if server.start(ending):
            _serve_until(ending, server, ready)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _serve_until(
    ending: threading.Event, server: ModelServer, ready: Callable[[ModelServer], None]
) -> None:
    try:
        # TensorFlow's million objects stay for good: left out of every garbage collection, the
        # server answers 5 to 13 % more requests a second.
        gc.collect()
        gc.freeze()
        ready(server)
        while not ending.wait(LOOK_SECONDS):
            pass  # a signal that another thread takes does not wake this one
        log.info("draining")
    finally:
        server.stop()


def main() -> int:
    """The command convoy-model-server."""
    from serving import flags  # argparse is needed by nobody who embeds the server

    return flags.main()
