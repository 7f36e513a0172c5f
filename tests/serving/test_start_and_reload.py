"""When a server listens, ends, and tries again: what of TensorFlow Serving's was only read.

Asked of our server, or of the program that make tfserving-test is given. Other tests hold ours to
the same in less time.
"""

import shutil
import socket
import time
from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from tests.support.core_calls import Stub, config, has, predicted
from tests.support.forkserver import ForkServer
from tests.support.model_server import (
    Running,
    Start,
    output_of_failed_start,
    starting,
    wait_ready,
)
from tests.support.waiting import until

pytestmark = pytest.mark.full
AVAILABLE, END = 30, 50
QUIET_SECONDS = 3.0  # three polls: what must not happen cannot be waited for


def test_a_start_ends_when_a_model_has_no_version_that_loads(
    tmp_path: Path, forkserver: ForkServer
):
    (tmp_path / "1").mkdir()
    said = output_of_failed_start(
        forkserver, f"--model_base_path={tmp_path}", "--max_num_load_retries=0"
    )
    assert "did not become available: {" in said


def listens(running: Running) -> bool:
    host, _, port = running.grpc.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def test_a_start_waits_for_a_first_version(
    core_models: Path, tmp_path: Path, forkserver: ForkServer
):
    with starting(forkserver, f"--model_base_path={tmp_path / 'late'}") as running:
        time.sleep(QUIET_SECONDS)
        assert not listens(running)
        shutil.copytree(core_models / "half_plus_two", tmp_path / "late")
        wait_ready(running)
        stub = Stub(running.grpc)
        assert predicted(stub, "default") == 3.0
        stub.channel.close()


def test_a_polled_file_replaces_what_was_sent(core_models: Path, start: Start, tmp_path: Path):
    file = tmp_path / "models.config"
    file.write_text(config(core_models, "half_plus_two"))
    period = "--model_config_file_poll_wait_seconds=1"
    sent = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(config(core_models, "half_plus_three"), sent.config)
    with start(f"--model_config_file={file}", period) as running:
        stub = Stub(running.grpc)
        stub.reload(sent, timeout=60)
        until(lambda: has(stub, "half_plus_two") and not has(stub, "half_plus_three"))
        stub.channel.close()


def test_a_version_that_was_given_up_is_tried_again_once_it_was_away(
    core_models: Path, start: Start, tmp_path: Path
):
    base, version = tmp_path / "model", 124
    shutil.copytree(core_models / "half_plus_two", base)
    with start(f"--model_base_path={base}", "--max_num_load_retries=0") as running:
        stub = Stub(running.grpc)
        (base / str(version)).mkdir()
        until(lambda: state(stub, version) == END)
        good = core_models / "half_plus_three" / "00000123"
        shutil.copytree(good, base / str(version), dirs_exist_ok=True)
        time.sleep(QUIET_SECONDS)
        assert state(stub, version) == END
        away = (base / str(version)).rename(tmp_path / "away")
        time.sleep(QUIET_SECONDS)
        away.rename(base / str(version))
        until(lambda: state(stub, version) == AVAILABLE)
        stub.channel.close()


def state(stub: Stub, version: int) -> int | None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "default"
    found = {s.version: s.state for s in stub.status(request, timeout=30).model_version_status}
    return found.get(version)
