"""The command line of convoy-model-server: tensorflow_model_server's flags."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving.errors import ConfigError
from serving.model_settings import ModelSettings
from serving.seal import read_verifier
from serving.server import serve
from serving.settings import (
    Batching,
    Limits,
    Listen,
    Loading,
    ServerSettings,
    read_batching,
    read_metrics_path,
)
from serving.stderr import PlainFormatter, keep_stderr, visible
from serving.version import Retries

log = logging.getLogger(__name__)

# What tensorflow_model_server takes (server.cc): messages up to gRPC's largest, any number of rows.
LIMITS = Limits(message_bytes=2**31 - 1, rows=0)

# Known to tensorflow_model_server, without a meaning here.
IGNORED = (
    "enable_grpc_healthcheck_service",
    "enable_per_model_batching_parameters",
    "enable_profiler",
    "enable_serialization_as_tensor_content",
    "flush_filesystem_caches",
    "grpc_max_threads",
    "mixed_precision",
    "num_load_threads",
    "num_request_iterations_for_warmup",
    "num_tflite_interpreters_per_pool",
    "num_tflite_pools",
    "num_unload_threads",
    "per_process_gpu_memory_fraction",
    "platform_config_file",
    "prefer_tflite_model",
    "remove_unused_fields_from_bundle_metagraph",
    "rest_api_num_threads",
    "saved_model_tags",
    "skip_initialize_tpu",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
    "tensorflow_session_config_file",
    "tensorflow_session_parallelism",
    "thread_pool_factory_config_file",
    "xla_cpu_compilation_enabled",
    "xla_gpu_compilation_enabled",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM and return 0; 2 for a wrong flag, configuration file or directory."""
    keep_stderr()
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it deprecates its own session API
    options = parser().parse_args(arguments)
    for name in IGNORED:
        if getattr(options, name) is not None:
            log.warning("--%s is known and ignored: the embedded server has no such thing", name)
    try:
        serve(settings(options), lambda server: None)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"{visible(str(error))}\n")
        return 2
    return 0


def settings(options: argparse.Namespace) -> ServerSettings:
    """What the flags ask for. Raises ConfigError."""
    return ServerSettings(
        **_models(options),
        listen=_listen(options),
        loading=_loading(options),
        batching=_batching(options),
        metrics=_path(options.monitoring_config_file, read_metrics_path, ""),
        verifier=_path(options.require_signature, read_verifier, None),
        verified_dir=options.verified_dir,
        state=options.state,
        log_rate=_log_rate(options),
        log_directory=options.request_log,
        drain_seconds=options.drain_seconds,
        limits=replace(
            LIMITS,
            pixels=options.max_image_pixels,
            request_pixels=options.max_request_pixels,
            json_values=options.max_json_values,
        ),
        check_methods=options.enable_signature_method_name_check,
    )


def parser() -> argparse.ArgumentParser:
    """The flags, in tensorflow_model_server's order of importance."""
    found = argparse.ArgumentParser("convoy-model-server", allow_abbrev=False)
    found.add_argument("--version", action="version", version=_version())
    _add_listening(found.add_argument_group("where to listen"))
    _add_models(found.add_argument_group("what to serve"))
    _add_batching(found.add_argument_group("batching"))
    ours = found.add_argument_group("beyond tensorflow_model_server")
    ours.add_argument("--request_log", type=Path, help="directory; else lines go to stderr")
    ours.add_argument("--request_log_rate", type=float, help="share to log, 0 to 1")
    ours.add_argument("--drain_seconds", type=float, default=30.0, help="patience after SIGTERM")
    _add_switch(ours, "rest_api_ssl", help="TLS for REST as well, of the same --ssl_config_file")
    # As tensorflow_model_server, which is made for containers.
    everywhere = "0.0.0.0"  # noqa: S104  # nosec B104
    ours.add_argument("--listen_address", default=everywhere, help="of gRPC and REST")
    ours.add_argument(
        "--tokens", type=Path, help="who may call: lines of a name and a token's SHA-256"
    )
    _add_switch(
        ours,
        "allow_config_reload",
        help="HandleReloadConfigRequest from everywhere; else only "
        "through the Unix socket and with client certificates",
    )
    for name, default, what in (
        ("max_image_pixels", LIMITS.pixels, "of an image after decoding"),
        ("max_request_pixels", LIMITS.request_pixels, "of all images of a request together"),
        ("max_json_values", LIMITS.json_values, "values and lists in a REST request"),
    ):
        ours.add_argument(f"--{name}", type=int, default=default, help=f"{what}; {default}")
    _add_switch(ours, "reflection", default=True, help="describe the services to who asks")
    ours.add_argument(
        "--require_signature", type=Path, help="public key; serve only what is signed with it"
    )
    ours.add_argument(
        "--verified_dir", type=Path, help="for versions while they are verified; else in memory"
    )
    ours.add_argument(
        "--state", type=Path, help="keeps the counter of the signed configuration over a restart"
    )
    ignored = found.add_argument_group("accepted and ignored")
    for name in IGNORED:
        ignored.add_argument(f"--{name}", nargs="?", const="true", help=argparse.SUPPRESS)
    return found


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"convoy-model-server {version('convoy-trainer')}"
    except PackageNotFoundError:  # an image that holds this package alone
        return "convoy-model-server"


def _add_listening(group: Any) -> None:
    group.add_argument("--port", type=int, default=8500, help="gRPC; 0 closes it")
    group.add_argument("--grpc_socket_path", default="", help="a Unix socket beside the port")
    group.add_argument("--grpc_channel_arguments", default="", help="key=value, comma-separated")
    group.add_argument("--rest_api_port", type=int, default=0, help="0 closes it")
    group.add_argument("--rest_api_timeout_in_ms", type=int, default=30000)
    _add_switch(group, "rest_api_enable_cors_support", help="let pages of other origins call")
    group.add_argument("--ssl_config_file", type=Path, help="SSLConfig in text format, for gRPC")
    group.add_argument("--monitoring_config_file", type=Path, help="MonitoringConfig, text format")


def _add_models(group: Any) -> None:
    group.add_argument("--model_name", default="default")
    group.add_argument("--model_base_path", type=Path)
    group.add_argument("--model_config_file", type=Path, help="ModelServerConfig, text format")
    group.add_argument("--model_config_file_poll_wait_seconds", type=float, default=0.0)
    group.add_argument("--file_system_poll_wait_seconds", type=float, default=1.0)
    group.add_argument("--max_num_load_retries", type=int, default=5)
    group.add_argument("--load_retry_interval_micros", type=int, default=60_000_000)
    _add_switch(group, "enable_model_warmup", default=True)
    _add_switch(group, "allow_version_labels_for_unavailable_models")
    _add_switch(group, "enable_signature_method_name_check")


def _add_batching(group: Any) -> None:
    _add_switch(group, "enable_batching")
    group.add_argument("--batching_parameters_file", type=Path, help="BatchingParameters")


def _add_switch(group: Any, name: str, default: bool = False, help: str = "") -> None:
    group.add_argument(
        f"--{name}", type=_truth, nargs="?", const=True, default=default, help=help or None
    )


def _models(options: argparse.Namespace) -> dict[str, Any]:
    if options.model_config_file:
        return {"config": options.model_config_file}
    if not options.model_base_path:
        raise ConfigError("give --model_base_path, or --model_config_file for several models")
    if options.require_signature:
        raise ConfigError(
            "--require_signature needs --model_config_file: without a signed configuration any "
            "version that was ever signed could come back"
        )
    path = options.model_base_path.absolute()
    return {"models": (ModelSettings(options.model_name, path),)}


def _listen(options: argparse.Namespace) -> Listen:
    if options.rest_api_ssl and not options.ssl_config_file:
        raise ConfigError("--rest_api_ssl needs --ssl_config_file")
    return Listen(
        host=options.listen_address,
        port=options.port or None,
        rest_port=options.rest_api_port or None,
        socket=options.grpc_socket_path,
        tls=options.ssl_config_file,
        rest_tls=options.rest_api_ssl,
        tokens=options.tokens,
        reload=options.allow_config_reload,
        reflection=options.reflection,
        cors=options.rest_api_enable_cors_support,
        arguments=_channel_arguments(options.grpc_channel_arguments),
        rest_seconds=options.rest_api_timeout_in_ms / 1e3,
    )


def _loading(options: argparse.Namespace) -> Loading:
    retries = Retries(options.max_num_load_retries, options.load_retry_interval_micros / 1e6)
    return Loading(
        poll_config=options.model_config_file_poll_wait_seconds,
        poll_versions=options.file_system_poll_wait_seconds,
        retries=retries,
        lenient_labels=options.allow_version_labels_for_unavailable_models,
        warm_up=options.enable_model_warmup,
    )


def _batching(options: argparse.Namespace) -> Batching | None:
    if not options.enable_batching:
        if options.batching_parameters_file:
            raise ConfigError("--batching_parameters_file needs --enable_batching")
        return None
    return _path(options.batching_parameters_file, read_batching, Batching())


def _log_rate(options: argparse.Namespace) -> float:
    if options.request_log_rate is not None:
        return float(options.request_log_rate)
    return 1.0 if options.request_log else 0.0


def _path(path: Path | None, read: Any, default: Any) -> Any:
    return read(path) if path else default


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return [
        (key.strip(), int(value) if value.lstrip("-").isdecimal() else value)
        for key, _, value in pairs
    ]


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text.lower() in ("true", "1")
