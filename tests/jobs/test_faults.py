"""What the machine refuses ends a command in one line with the path, and a code to go on by."""

import gzip
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from jobs import faults
from jobs.exits import FAILED, INTERRUPTED, CommandError
from serving.store import Store
from tests.support.full_disk import LIMITED, NO_SPACE, TOO_LARGE, small_disk
from tests.support.workplace import Workplace

FULL = Path("/dev/full")  # takes no byte
JOB = """
name = "iris"
[data]
source = "iris"
data_dir = "{data_dir}"
check.leakage = {{ limit = 0.05 }}
[model]
name = "mlp"
options = {{ units = [8] }}
[train]
epochs = 2
batch_size = 16
top_k = 2
[bless]
min_accuracy = 0.0
[publish]
settle_seconds = 0
"""

TUNE = """
[tune]
max_trials = 2
[tune.space]
"train.learning_rate" = { float = [1e-4, 1e-1], sampling = "log" }
"""


@pytest.fixture
def iris(workplace: Workplace, data_dir: Path) -> Workplace:
    """A workplace whose job takes a second."""
    (workplace.path / "job.toml").write_text(JOB.format(data_dir=data_dir))
    return workplace


def write_text(path: Path) -> None:
    with path.open("w") as file:
        print("a line", file=file)


def write_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(100_000))


def write_zip(path: Path) -> None:
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("name", b"0" * 100_000)


def write_records(path: Path) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"0" * 1_000_000)


def write_in_graph(path: Path) -> None:
    @tf.function
    def write() -> None:
        tf.io.write_file(str(path), b"0" * 1_000_000)

    write()


WRITERS = [
    Path.touch, write_text, lambda path: path.write_bytes(b"0"), write_arrays, write_zip,
    write_records, write_in_graph,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS[1:])
def test_a_file_that_a_full_disk_does_not_take_is_named(write: Callable[[Path], None]):
    with pytest.raises(CommandError) as caught, faults.told():
        write(FULL)
    assert str(caught.value) == f"{FULL}: {NO_SPACE}"
    assert caught.value.code == FAILED


@pytest.mark.parametrize("write", WRITERS[:-1])  # TensorFlow's operation makes the directory
def test_a_file_whose_directory_is_missing_is_named(write: Callable[[Path], None], tmp_path: Path):
    path = tmp_path / "no directory" / "file"
    with pytest.raises(CommandError) as caught, faults.told(INTERRUPTED, "Go on"):
        write(path)
    assert str(caught.value) == f"{path}: No such file or directory. Go on"
    assert caught.value.code == INTERRUPTED


def test_copies_name_the_first_file_that_failed(tmp_path: Path):
    (tmp_path / "from").mkdir()
    for name in "ab":
        (tmp_path / "from" / name).symlink_to(tmp_path / "nowhere")
    expected = r"/to/[ab]: .*No such file or directory"
    with pytest.raises(CommandError, match=expected) as caught, faults.told():
        shutil.copytree(tmp_path / "from", tmp_path / "to")
    assert len(str(caught.value).splitlines()) == 1


def read_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"0" * 1000)[:-9])
    with gzip.open(path) as file:
        file.read()


def read_zip(path: Path) -> None:
    path.write_bytes(b"PK, and no more")
    with path.open("rb") as file, zipfile.ZipFile(file) as zipped:
        zipped.infolist()


def read_tar(path: Path) -> None:
    path.write_bytes(b"no tar at all")
    with path.open("rb") as file, tarfile.open(fileobj=file) as tarred:
        tarred.getmembers()


@pytest.mark.parametrize("read", [read_gzip, read_zip, read_tar])
def test_a_damaged_file_is_named(read: Callable[[Path], None], tmp_path: Path):
    with pytest.raises(CommandError, match=rf"^{tmp_path}/file is damaged: .+$"), faults.told():
        read(tmp_path / "file")


def test_records_that_are_damaged_end_in_one_line(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"no records, but more than a header's length")
    expected = "^a file is damaged: corrupted record at 0.*$"
    with pytest.raises(CommandError, match=expected), faults.told():
        list(tf.data.TFRecordDataset(str(tmp_path / "file")))


def test_what_a_pipeline_of_data_meets_is_told_like_any_other():
    def rows():
        FULL.write_bytes(b"0")
        yield 0

    data = tf.data.Dataset.from_generator(rows, output_signature=tf.TensorSpec((), tf.int32))
    with pytest.raises(CommandError, match=NO_SPACE) as caught, faults.told():
        list(data)
    assert len(str(caught.value).splitlines()) == 1


def test_an_error_that_was_raised_from_such_a_one_counts_as_well():
    def fail() -> None:
        try:
            FULL.write_bytes(b"0")
        except OSError as problem:
            raise RuntimeError("the study failed") from problem

    with pytest.raises(CommandError, match=f"^{FULL}: {NO_SPACE}$"), faults.told():
        fail()


@pytest.mark.parametrize(
    "problem",
    [
        ValueError("a fault of ours"),
        BrokenPipeError(32, "Broken pipe"),
        tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"),
        tf.errors.InvalidArgumentError(None, None, "shapes; no space"),
    ],
)
def test_other_errors_pass(problem: Exception):
    with pytest.raises(type(problem)) as caught, faults.told():
        raise problem
    assert caught.value is problem


def test_a_refusal_of_our_own_keeps_its_words_and_code():
    with pytest.raises(CommandError, match="^ours$") as caught, faults.told():
        raise CommandError("ours", 4)
    assert caught.value.code == 4


def test_a_command_without_a_run_ends_with_1(iris: Workplace):
    done = iris("models", "keygen", "job.toml/keys")
    assert (done.returncode, done.stdout) == (FAILED, "")
    assert done.stderr == "convoy: job.toml/keys: Not a directory\n"


def last_line(stderr: str) -> str:
    assert "Traceback" not in stderr
    return stderr.strip().splitlines()[-1]


def limited(place: Workplace, most: int, *arguments: str) -> tuple[int, str]:
    """Run a command that may write no larger file; gives its exit code and last line."""
    done = place.forkserver.run("-c", LIMITED, str(most), *arguments, cwd=place.path)
    return done.returncode, last_line(done.stderr)


def advice(line: str, reason: str) -> tuple[str, list[str]]:
    """Return the path that a last line names, and the command that goes on, without `convoy`."""
    pattern = rf"convoy: (.+): {reason}\. Mend that, then continue with: convoy (.+)"
    found = re.fullmatch(pattern, line)
    assert found, line
    return found[1], found[2].split()


def test_a_run_that_cannot_write_on_is_continued_when_it_can(iris: Workplace):
    iris("data", "check", "job.toml")  # prepares what all tests share
    code, line = limited(iris, 3000, "train", "job.toml")
    assert code == INTERRUPTED
    path, resume = advice(line, TOO_LARGE)
    assert path.startswith(f"{resume[-1]}/checkpoints/")
    code, line = limited(iris, 3000, "train", *resume[1:])
    assert (code, advice(line, TOO_LARGE)[1]) == (INTERRUPTED, resume)
    assert iris.result("train", *resume[1:])["status"] == "trained"


@pytest.mark.slow
def test_data_that_cannot_be_prepared_are_prepared_when_there_is_room(iris: Workplace):
    away = ("--set", "data.data_dir=own")
    code, line = limited(iris, 3000, "run", "job.toml", *away)
    assert code == INTERRUPTED
    path, resume = advice(line, TOO_LARGE)
    assert path.startswith("own/iris/")
    assert iris.result(*resume)["status"] == "published"


@pytest.mark.slow
def test_a_search_that_cannot_write_on_is_continued_when_it_can(iris: Workplace):
    iris("data", "check", "job.toml")
    with (iris.path / "job.toml").open("a") as file:
        file.write(TUNE)
    code, line = limited(iris, 3600, "tune", "job.toml")  # its settings take 3 kB
    assert code == INTERRUPTED
    path, resume = advice(line, TOO_LARGE)
    assert path.startswith(resume[-1])
    assert iris.result(*resume)["best"]["state"] == "COMPLETED"


def disks(place: str, slow: tuple[int, ...], full: tuple[int, ...]) -> list[Any]:
    """Return sizes in kilobytes, at which a disk is full at some point of a run."""
    return [
        *(pytest.param(place, size, marks=pytest.mark.slow) for size in slow),
        *(pytest.param(place, size, marks=pytest.mark.full) for size in full),
    ]


@pytest.mark.parametrize(
    ("place", "kilobytes"),
    [
        *disks("runs", (8, 96), (16, 32, 48, 64, 128, 256)),
        *disks("models", (64,), (4, 16, 32, 48)),  # a version takes less than 96
    ],
)
def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_when_there_is_room(
    iris: Workplace, place: str, kilobytes: int
):
    with small_disk(iris.path / place, kilobytes) as resize:
        done = iris("run", "job.toml")
        line = last_line(done.stderr)
        assert NO_SPACE in line
        assert f"{place}/" in line
        assert done.returncode in (FAILED, INTERRUPTED)
        resize(100_000)
        resumed = done.returncode == INTERRUPTED
        outcome = iris.result(*(advice(line, NO_SPACE)[1] if resumed else ("run", "job.toml")))
        store = Store(iris.path / "models")
        assert store.live("iris") == outcome["version"]
        assert store.versions("iris") == [outcome["version"]]
        store.verify("iris", outcome["version"])
