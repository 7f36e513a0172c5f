"""The server as a command, in a process of its own."""

import signal
import socket
import threading
from pathlib import Path

from serving.client import Client, Options
from serving.errors import ServerUnavailable
from serving.store import Store
from tests.support.forkserver import ForkServer, Process
from tests.support.running import version_of
from tests.support.waiting import until

CODE = "import sys; from serving.server import main; sys.exit(main())"


def address_of(process: Process) -> str:
    seen = []
    for line in process.stderr:
        seen.append(line)
        if "listening grpc=" in line:
            return line.partition("grpc=")[2].split()[0].replace("0.0.0.0", "127.0.0.1")
    raise AssertionError("the server ended: " + "".join(seen))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_serves_one_model_and_ends_in_order(
    store: Store, classifiers: list[Path], forkserver: ForkServer
):
    version = store.publish("shapes", classifiers[0])
    flags = (
        f"--port={free_port()}",
        "--model_name=shapes",
        f"--model_base_path={store.root / 'shapes'}",
        "--enable_batching",
        "--tensorflow_intra_op_parallelism=2",
    )
    with forkserver.start("-c", CODE, *flags) as process:
        with Client(address_of(process)) as client:
            assert version_of(client) == version
            answered = load_until_refused(client, process)
        assert answered > 0
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr


def load_until_refused(client: Client, process: Process) -> int:
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


def test_the_command_that_still_waits_for_a_model_ends_when_asked_to(
    tmp_path: Path, forkserver: ForkServer
):
    flags = (f"--port={free_port()}", f"--model_base_path={tmp_path}")
    with forkserver.start("-c", CODE, *flags) as process:
        assert any("not listening yet, waiting for default" in line for line in process.stderr)
        process.terminate()
        assert process.wait(30) == 0


def test_the_command_ends_with_the_reason_when_its_configuration_is_wrong(
    tmp_path: Path, forkserver: ForkServer
):
    config = tmp_path / "models.config"
    config.write_text("model_config_list { config { nonsense")
    done = forkserver.run("-c", CODE, f"--model_config_file={config}", timeout=60)
    assert done.returncode == 2
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in done.stderr
