"""No file, however damaged, ends the process that decodes it: in the graph that is exported.

TensorFlow's decoder is native code. What it dies of is refused before it, by `pipeline.formats`.
"""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from pipeline.augment_config import AugmentConfig
from pipeline.dataset import DataInfo
from pipeline.listing import SIGNATURES
from pipeline.standardize import Preparation
from trainer.export import export

PROGRAM = Path(__file__).with_name("decoding_process.py")
ROOT = Path(__file__).parents[2]
CHECKED_HEAP = Path("/usr/lib/x86_64-linux-gnu/libc_malloc_debug.so.0")  # glibc's, where it is
FEW, MANY = 400, 5_000
PATIENCE = 800  # seconds; 60 are enough for MANY on a quiet machine
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A network whose answer depends on every pixel."""
    image = keras.Input((18, 14, 3))
    x = keras.layers.Flatten()(image)
    network = keras.Model(image, keras.layers.Dense(3, "softmax", kernel_initializer="normal")(x))
    info = DataInfo("fuzz", "", ("a", "b", "c"), {}, (18, 14, 3))
    prepare = Preparation(info.shape, "unit", "nearest", AugmentConfig())
    return export(network, info, prepare, tmp_path_factory.mktemp("fuzz") / "export", {})


def send(exported: Path, file_format: str, first: int, count: int) -> None:
    """Send damaged files to the model in a process of its own, whose heap is checked."""
    settings = {"PYTHONPATH": str(ROOT), "MALLOC_CHECK_": "3"}
    if CHECKED_HEAP.exists():
        settings["LD_PRELOAD"] = str(CHECKED_HEAP)
    command = [sys.executable, str(PROGRAM), str(exported), file_format, str(first), str(count)]
    try:
        done = subprocess.run(
            command,
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as hung:  # as a corrupted heap may end, too
        raise AssertionError(f"it hung at {(hung.stdout or b'')[-40:]!r}") from None
    *_, last = done.stdout.splitlines() or ["nothing was sent"]
    assert done.returncode == 0, f"it ended with {done.returncode} at {last}: {done.stderr[-2000:]}"
    word, answered = last.split()
    assert word == "done"
    assert 0 < int(answered) < count  # some damage is none, and most is


@pytest.mark.slow
@pytest.mark.parametrize("file_format", SIGNATURES)
def test_hundreds_of_damaged_files_are_answered_or_refused(exported, file_format):
    send(exported, file_format, 0, FEW)


@pytest.mark.full
@pytest.mark.parametrize("file_format", SIGNATURES)
def test_thousands_of_damaged_files_are_answered_or_refused(exported, file_format):
    send(exported, file_format, FEW, MANY)
