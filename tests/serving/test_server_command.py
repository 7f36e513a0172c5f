"""The server as a command, in a process of its own."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from serving.client import Client, Options
from serving.errors import ServerUnavailable
from serving.store import Store
from tests.serving.running import until, version_of


def command(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from serving.server import main; sys.exit(main())"
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "listening grpc=" in line:
            return line.partition("grpc=")[2].split()[0].replace("0.0.0.0", "127.0.0.1")
    raise AssertionError("the server ended: " + "".join(seen))


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_serves_one_model_and_ends_in_order(store: Store, classifiers: list[Path]):
    version = store.publish("shapes", classifiers[0])
    process = command(
        f"--port={free_port()}",
        "--model_name=shapes",
        f"--model_base_path={store.root / 'shapes'}",
        "--enable_batching",
        "--tensorflow_intra_op_parallelism=2",
    )
    try:
        with Client(address_of(process)) as client:
            assert version_of(client) == version
            answered = load_until_refused(client, process)
        assert answered > 0
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
    finally:
        process.kill()
        process.communicate()


def load_until_refused(client: Client, process: subprocess.Popen[str]) -> int:
    """Ask from 8 threads; SIGTERM in the middle. Every request is answered or not accepted."""
    answered: list[int] = []
    wrong: list[Exception] = []

    def ask() -> None:
        with Client(client.address, Options(retries=0)) as own:
            try:
                while True:
                    answered.append(version_of(own))
            except ServerUnavailable:
                return
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(answered) > 100)
    process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert wrong == []
    return len(answered)


def test_the_command_ends_with_the_reason_when_its_configuration_is_wrong(tmp_path: Path):
    config = tmp_path / "models.config"
    config.write_text("model_config_list { config { nonsense")
    process = command(f"--model_config_file={config}")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in stderr
