"""The flags of tensorflow_model_server, and the command lines that this project writes for it.

Source of the flags: flag_list in tensorflow_serving/model_servers/main.cc of
github.com/tensorflow/serving, as --help prints it, in a revision that has all that its releases up
to 2.20 document. A flag that is not there is "unknown argument" to the server, which goes on.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.support.guide import PAGES, ROOT, Command, name, steps

_LISTED = """
port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms
rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models
batching_parameters_file enable_per_model_batching_parameters model_config_file
model_config_file_poll_wait_seconds model_name model_base_path num_load_threads
num_unload_threads max_num_load_retries load_retry_interval_micros file_system_poll_wait_seconds
flush_filesystem_caches tensorflow_session_parallelism tensorflow_session_config_file
tensorflow_intra_op_parallelism tensorflow_inter_op_parallelism use_alts_credentials
ssl_config_file platform_config_file per_process_gpu_memory_fraction saved_model_tags
grpc_channel_arguments grpc_max_threads enable_model_warmup num_request_iterations_for_warmup
version monitoring_config_file remove_unused_fields_from_bundle_metagraph prefer_tflite_model
num_tflite_pools num_tflite_interpreters_per_pool enable_signature_method_name_check
xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler
thread_pool_factory_config_file mixed_precision skip_initialize_tpu
enable_grpc_healthcheck_service enable_serialization_as_tensor_content
"""
FLAGS = frozenset(_LISTED.split())
PROGRAMS = ("tensorflow_model_server", "convoy-model-server", "tensorflow/serving")
OURS = frozenset(
    {"request_log", "request_log_rate", "drain_seconds", "rest_api_ssl", "require_signature"}
    | {"allow_config_reload", "listen_address", "reflection", "tokens"}
    | {"max_image_pixels", "max_request_pixels", "max_json_values", "state", "verified_dir"}
)  # of convoy-model-server alone
_LIST = re.compile(r"^(?:CMD|ENTRYPOINT) (\[.*?\])$", re.MULTILINE | re.DOTALL)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Give each list of flags that is written for a model server, and the file that it is in."""
    for service in _yaml(ROOT / "docker-compose.yml")["services"].values():
        if any("model_server" in part for part in service.get("entrypoint", ())):
            yield "docker-compose.yml", service["command"]
    for path in sorted((ROOT / "deploy").rglob("*.yaml")):
        for container in _containers(list(yaml.safe_load_all(path.read_text(encoding="utf-8")))):
            flags = [part for part in container["args"] if part.startswith("--")]
            if any(flag.startswith("--model_config_file=") for flag in flags):
                yield path.relative_to(ROOT).as_posix(), flags
    for found in _LIST.findall((ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")):
        if "--model_config_file" in found:
            yield "deploy/Dockerfile", yaml.safe_load(found.replace("\\\n", ""))
    for page in PAGES:
        for step in steps(page.read_text(encoding="utf-8")):
            if isinstance(step, Command) and any(program in step.line for program in PROGRAMS):
                yield name(page), _after_the_program(step.line)


def names(flags: list[str]) -> set[str]:
    """Give the names of flags."""
    return {flag.lstrip("-").partition("=")[0] for flag in flags if flag.startswith("-")}


def _after_the_program(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    at = next(at for at, word in enumerate(words) if any(p in word for p in PROGRAMS))
    return words[at + 1 :]


def _containers(tree: object) -> Iterator[dict[str, list[str]]]:
    """Give what has `args`, wherever in a manifest or a patch of one it stands."""
    if isinstance(tree, dict):
        if isinstance(tree.get("args"), list):
            yield tree
        for value in tree.values():
            yield from _containers(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _containers(value)


def _yaml(path: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    found: dict[str, dict[str, dict[str, list[str]]]] = yaml.safe_load(
        path.read_text(encoding="utf-8")
    )
    return found
