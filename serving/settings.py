"""How a server listens, what it accepts, and how it looks for models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import catalog
from serving.errors import ConfigError
from serving.model_settings import ModelSettings, read_file, read_models
from serving.seal import Verifier
from serving.version import Retries
from serving.wire import config_pb2


@dataclass(frozen=True)
class Batching:
    """Limits of the batches. Sizes count rows (examples), the queue counts requests.

    `sizes`: batches are padded to the next of these; none means any size. Raises ValueError.

    Two batches side by side fill the pauses of each other, in which one core works or none: on two
    cores, two callers of mobilenet_v2 get 178 images a second instead of 102, four with 32 digits
    each 86% of the bare model's instead of 64%; large batches of large networks gain little.
    """

    max_batch_size: int = 64  # a small network on 2 cores gains nothing beyond
    max_queue: int = 1024
    threads: int = 2  # batches computed side by side
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_queue", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.sizes and (self.sizes != tuple(sorted(set(self.sizes))) or self.sizes[0] < 1):
            raise ValueError(f"allowed_batch_sizes must rise from at least 1, got {self.sizes}")
        if self.sizes and self.sizes[-1] != self.max_batch_size:
            raise ValueError(
                f"the last of allowed_batch_sizes must be max_batch_size, got {self.sizes[-1]} "
                f"and {self.max_batch_size}"
            )

    def padded(self, rows: int) -> int:
        """The size that a batch of `rows` is computed at."""
        return next((size for size in self.sizes if size >= rows), rows)


@dataclass(frozen=True)
class Limits:
    """What a single request may take."""

    message_bytes: int = 64 << 20  # 445 images of 224 x 224 x 3; gRPC's own 4 MiB are 27
    body_bytes: int = 64 << 20  # of a REST request
    pixels: int = 64_000_000  # an image after decoding; 48-megapixel photographs pass
    request_pixels: int = 256_000_000  # all images together, 3 s of decoding; 21 of 12 megapixels
    rows: int = 4096  # of a request's batch; 0 is no limit
    json_values: int = 8_000_000  # with its lists; 53 images of 224 x 224 x 3


@dataclass(frozen=True)
class Listen:
    """Where a server listens. Port 0 picks a free one, None closes that door."""

    host: str = "127.0.0.1"
    port: int | None = 8500
    rest_port: int | None = 8501
    socket: str = ""  # a Unix socket for gRPC, beside the port
    tls: Path | None = None  # an SSLConfig in text format, read again when it changes
    rest_tls: bool = False  # TensorFlow Serving's SSLConfig is for gRPC alone
    tokens: Path | None = None  # who may call: names and SHA-256 of tokens, read again as well
    reload: bool = False  # HandleReloadConfigRequest from everywhere
    reflection: bool = True
    cors: bool = False  # pages of other origins may call the REST API
    arguments: Sequence[tuple[str, Any]] = ()  # gRPC channel arguments
    threads: int = 4  # that read Predict requests; one of them computes, and none waits
    rest_seconds: float = 30.0  # how long a REST request may take


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address in brackets."""
    bare = host.strip("[]")
    return f"[{bare}]" if ":" in bare else bare


@dataclass(frozen=True)
class Loading:
    """How versions are found and loaded. Intervals in seconds; 0 looks only once, at the start.

    `as_production`: it listens once every model has a version that answers, and ends where one
    never will; the file is applied at every poll, also over what was sent by request.
    """

    poll_config: float = 1.0
    poll_versions: float = 1.0
    retries: Retries = Retries()
    lenient_labels: bool = False  # a label not in use yet may name a version not available
    as_production: bool = True
    warm_up: bool = True


@dataclass(frozen=True)
class ServerSettings:
    """Everything a server is told. Models come from a file that is polled, or are given.

    `store`: the directory that the file calls /models. `metrics`: the path of the Prometheus page,
    empty for none. `verifier`: versions that it does not accept are not loaded. `log_rate`: the
    share of requests that is logged, to `log_directory` or through the process's own logging.
    `check_methods`: TensorFlow Serving's flag enable_signature_method_name_check.
    """

    config: Path | None = None
    store: Path | None = None
    models: Sequence[ModelSettings] = ()
    listen: Listen = Listen()
    loading: Loading = Loading()
    limits: Limits = Limits()
    batching: Batching | None = Batching()
    metrics: str = "/monitoring/prometheus/metrics"
    verifier: Verifier | None = None
    verified_dir: Path | None = None  # where versions are copied while they are verified and loaded
    state: Path | None = None  # keeps the counter of a signed configuration
    log_rate: float = 0.0
    log_directory: Path | None = None
    drain_seconds: float = 30.0  # what requests under way get after SIGTERM
    check_methods: bool = False

    def read_models(self) -> list[ModelSettings]:
        """The models to serve as of now. Raises ConfigError."""
        return read_models(self.config, self.store) if self.config else list(self.models)


def of_store(store: Path, listen: Listen | None = None) -> ServerSettings:
    """Settings of a server that reads a store where it lies.

    A store's file carries labels, and no version is available when a server starts: as everywhere
    where TensorFlow Serving serves a store, labels not in use yet are taken as they come. Such a
    server is for looking at a store and trying things, too: it listens whatever is wrong with a
    model in it, and what was sent by request holds until the file changes.
    """
    root = store.resolve()
    return ServerSettings(
        config=root / catalog.CONFIG,
        store=root,
        listen=listen or Listen(),
        loading=Loading(lenient_labels=True, as_production=False),
    )


def read_metrics_path(path: Path) -> str:
    """Where a MonitoringConfig file wants the Prometheus page; empty for nowhere."""
    config = read_file(path, config_pb2.MonitoringConfig()).prometheus_config
    return (config.path or "/monitoring/prometheus/metrics") if config.enable else ""


def read_batching(path: Path) -> Batching:
    """Limits of a BatchingParameters file. Raises ConfigError.

    Of its timeout nothing is taken: batches here never wait to fill up.
    """
    found = read_file(path, config_pb2.BatchingParameters())
    chosen: dict[str, Any] = {}
    if found.allowed_batch_sizes:
        chosen["sizes"] = tuple(found.allowed_batch_sizes)
        chosen["max_batch_size"] = found.allowed_batch_sizes[-1]
    if found.HasField("max_batch_size"):
        chosen["max_batch_size"] = found.max_batch_size.value
    if found.HasField("num_batch_threads"):
        chosen["threads"] = found.num_batch_threads.value
    if found.HasField("max_enqueued_batches"):
        largest = chosen.get("max_batch_size", Batching.max_batch_size)
        chosen["max_queue"] = found.max_enqueued_batches.value * largest
    try:
        return Batching(**chosen)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
