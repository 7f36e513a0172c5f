"""Flags and text-format files become settings, and wrong ones are refused with the reason."""

import logging
from pathlib import Path
from typing import Any

import pytest

from serving import flags
from serving.errors import ConfigError
from serving.model_settings import ModelSettings, Policy, read_models
from serving.settings import Batching, read_batching, read_metrics_path
from serving.tls import ServerTLS, read_tls


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def parsed(*arguments: str) -> Any:
    return flags.settings(flags.parser().parse_args(arguments))


def test_the_flags_of_one_model(tmp_path: Path):
    found = parsed(f"--model_base_path={tmp_path}", "--model_name=m")
    assert found.models == (ModelSettings("m", tmp_path),)
    assert (found.listen.host, found.listen.port, found.listen.rest_port) == ("0.0.0.0", 8500, None)
    assert found.batching is None
    assert found.metrics == ""
    assert found.loading.retries.count == 5


def test_the_flags_of_a_production_server(tmp_path: Path):
    monitoring = write(tmp_path / "m", 'prometheus_config { enable: true path: "/metrics" }')
    batching = write(tmp_path / "b", "max_batch_size { value: 8 }")
    found = parsed(
        "--model_config_file=models.config",
        "--model_config_file_poll_wait_seconds=2",
        "--file_system_poll_wait_seconds=3",
        "--port=9000",
        "--rest_api_port=9001",
        "--rest_api_timeout_in_ms=1500",
        "--grpc_socket_path=/tmp/socket",
        "--grpc_channel_arguments=grpc.max_concurrent_streams=10,grpc.x=y",
        f"--monitoring_config_file={monitoring}",
        "--enable_batching=true",
        f"--batching_parameters_file={batching}",
        "--max_num_load_retries=1",
        "--load_retry_interval_micros=500000",
        "--allow_version_labels_for_unavailable_models",
        "--enable_model_warmup=false",
    )
    assert found.config == Path("models.config")
    assert (found.loading.poll_config, found.loading.poll_versions) == (2, 3)
    assert (found.listen.port, found.listen.rest_port, found.listen.socket) == (
        9000,
        9001,
        "/tmp/socket",
    )
    assert found.listen.arguments == [("grpc.max_concurrent_streams", 10), ("grpc.x", "y")]
    assert found.listen.rest_seconds == 1.5
    assert found.metrics == "/metrics"
    assert found.batching == Batching(max_batch_size=8)
    assert (found.loading.retries.count, found.loading.retries.seconds) == (1, 0.5)
    assert found.loading.lenient_labels
    assert not found.loading.warm_up


def test_the_defaults_are_those_of_tensorflow_model_server(tmp_path: Path):
    found = parsed(f"--model_base_path={tmp_path}")
    assert not found.loading.lenient_labels
    assert not found.check_methods
    assert not found.listen.cors
    assert not found.listen.rest_tls
    assert (found.limits.message_bytes, found.limits.rows) == (2**31 - 1, 0)


def test_switches_are_on_alone_or_with_a_word(tmp_path: Path):
    found = parsed(
        f"--model_base_path={tmp_path}",
        "--enable_signature_method_name_check",
        "--rest_api_enable_cors_support=true",
        "--allow_version_labels_for_unavailable_models=false",
    )
    assert (found.check_methods, found.listen.cors) == (True, True)
    assert not found.loading.lenient_labels


@pytest.mark.parametrize(
    "flag",
    ["force_allow_any_version_labels_for_unavailable_models", "enable_cors_support"],
)
def test_what_is_no_flag_of_tensorflow_model_server_is_none_here(flag: str):
    with pytest.raises(SystemExit):
        parsed(f"--{flag}=true")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_base_path=/m", "--rest_api_ssl"], "--rest_api_ssl needs --ssl_config_file"),
        ([], "give --model_base_path, or --model_config_file"),
        (
            ["--model_base_path=/m", "--batching_parameters_file=b"],
            "--batching_parameters_file needs --enable_batching",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(arguments: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        parsed(*arguments)


def test_a_flag_that_is_known_and_ignored_says_so(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    assert flags.main(["--tensorflow_session_parallelism=2"]) == 2  # no model was named
    assert "--tensorflow_session_parallelism is known and ignored" in caplog.text


def test_an_unknown_flag_is_an_error(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        flags.main(["--no_such_flag"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --no_such_flag" in capsys.readouterr().err


def test_a_config_file_is_read_with_its_policies(tmp_path: Path):
    path = write(
        tmp_path / "models.config",
        """model_config_list {
          config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
          config { name: "b" base_path: "/models/deep/b" model_type: TENSORFLOW
                   model_version_policy { all {} } }
          config { name: "c" base_path: "/models/c" model_platform: "tensorflow"
                   model_version_policy { specific { versions: 1 versions: 2 } }
                   version_labels { key: "stable" value: 2 } }
          config { name: "d" base_path: "/models/d" model_platform: "tensorflow"
                   model_version_policy { latest { num_versions: 3 } } }
        }""",
    )
    assert read_models(path, store=Path("/srv/store")) == [
        ModelSettings("a", Path("/srv/store/a"), Policy(latest=1)),
        ModelSettings("b", Path("/srv/store/deep/b"), Policy(latest=None)),
        ModelSettings("c", Path("/srv/store/c"), Policy(specific=frozenset({1, 2})), {"stable": 2}),
        ModelSettings("d", Path("/srv/store/d"), Policy(latest=3)),
    ]
    assert read_models(path)[0].base_path == Path("/models/a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "Error parsing text-format tensorflow.serving.ModelServerConfig"),
        ("custom_model_config {}", "custom_model_config is not supported"),
        ('model_config_list { config { name: "a" } }', "needs a name and a base_path"),
        (
            'model_config_list { config { name: "a" base_path: "/a" } }',
            r"Illegal setting neither model_type\(deprecated\) nor model_platform",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" model_type: TENSORFLOW '
            'model_platform: "tensorflow" } }',
            r"Illegal setting both model_type\(deprecated\) and model_platform",
        ),
        ("", "there is no model_config_list"),
        (
            'model_config_list { config { name: "a" base_path: "a" model_platform: "tensorflow" '
            "} }",
            r"Expected model a to have an absolute path or URI; got base_path\(\)=a",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" model_platform: "x" } }',
            "model_platform 'x' is not supported",
        ),
        (
            'model_config_list { config { name: "a" base_path: "/a" model_platform: "tensorflow" } '
            'config { name: "a" base_path: "/b" model_platform: "tensorflow" } }',
            "Illegal to list model a multiple times in config",
        ),
    ],
)
def test_a_wrong_config_file_is_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read_models(write(tmp_path / "models.config", text))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot read .*nowhere"):
        read_models(tmp_path / "nowhere")


def test_batching_parameters_are_understood(tmp_path: Path):
    text = """max_batch_size { value: 16 } batch_timeout_micros { value: 1000 }
        max_enqueued_batches { value: 10 } num_batch_threads { value: 2 }
        allowed_batch_sizes: 4 allowed_batch_sizes: 16 thread_pool_name { value: "x" }"""
    found = read_batching(write(tmp_path / "b", text))
    assert found == Batching(max_batch_size=16, max_queue=160, threads=2, sizes=(4, 16))
    with pytest.raises(ConfigError, match="max_batch_size must be at least 1"):
        read_batching(write(tmp_path / "b", "max_batch_size { value: 0 }"))
    with pytest.raises(ConfigError, match=r"tensorflow\.serving\.BatchingParameters"):
        read_batching(write(tmp_path / "b", "speed: 3"))


def test_ssl_configuration(certificates: Path, tmp_path: Path):
    key, pem, ca = ((certificates / n).read_text() for n in ("server.key", "server.pem", "ca.pem"))
    mutual = (certificates / "mutual.ssl").read_text()
    assert read_tls(certificates / "mutual.ssl") == ServerTLS(key, pem, ca)
    unasked = write(tmp_path / "s", mutual.replace("client_verify: true", ""))
    assert read_tls(unasked) == ServerTLS(key, pem, "")  # nobody asked to verify
    with pytest.raises(ConfigError, match="must have server_key and server_cert"):
        read_tls(write(tmp_path / "s", 'server_key: "K"'))
    with pytest.raises(ConfigError, match="client_verify, which needs custom_ca"):
        read_tls(write(tmp_path / "s", 'server_key: "K" server_cert: "C" client_verify: true'))
    with pytest.raises(ConfigError, match=r"/s: server_key, server_cert or custom_ca: "):
        read_tls(write(tmp_path / "s", 'server_key: "K" server_cert: "C"'))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ""),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: false path: "/m" }', ""),
    ],
)
def test_monitoring_configuration(tmp_path: Path, text: str, path: str):
    assert read_metrics_path(write(tmp_path / "m", text)) == path
