"""Copies of data go when they should, and never from under a process that uses them."""

import shutil
from pathlib import Path

import pytest

from pipeline import DataConfig, copies
from pipeline.dataset import open_data
from tests.support.forkserver import ForkServer

HOLDING = """
import signal, sys
from pathlib import Path
from pipeline import copies
copies.hold(Path(sys.argv[1]))
print("held", flush=True)
signal.pause()
"""
PREPARING = """
import sys
from pipeline import DataConfig, copies
from pipeline.dataset import open_data
data = open_data(DataConfig(source="iris", data_dir=sys.argv[1]))
print(data.info.digest, *copies.held(), sep="\\n")
"""


def make(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "shard").write_bytes(b"data")
    return place


def test_a_copy_that_another_process_uses_stays_until_that_process_ends(
    tmp_path: Path, forkserver: ForkServer
):
    place = make(tmp_path / "digits" / "1")
    with forkserver.start("-c", HOLDING, str(place)) as holder:
        assert holder.stdout.readline() == "held\n"
        assert not copies.discard(place)
        assert (place / "shard").exists()
        holder.kill()
    assert copies.discard(place)
    assert not place.exists()
    assert not copies.discard(place)  # there is nothing left


def test_what_this_process_uses_it_does_not_remove(tmp_path: Path):
    place = make(tmp_path / "digits" / "1")
    copies.hold(place)
    copies.hold(place)
    assert copies.held().count(place.resolve()) == 1
    assert not copies.discard(place)
    assert place.exists()


def test_a_removal_that_was_killed_is_completed(tmp_path: Path):
    trash = make(tmp_path / "digits" / ".1.trash")
    assert copies.discard(tmp_path / "digits" / "1")
    assert not trash.exists()
    file = tmp_path / "train.bin"
    file.write_bytes(b"pixels")
    assert copies.discard(file)
    assert not file.exists()


def test_a_copy_that_was_removed_is_made_again_and_is_the_same(
    tmp_path: Path, forkserver: ForkServer
):
    def prepare() -> list[str]:
        done = forkserver.run("-c", PREPARING, str(tmp_path))
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    digest, place = prepare()
    assert (Path(place) / "dataset_info.json").is_file()
    assert copies.discard(Path(place))
    assert prepare() == [digest, place]
    assert (Path(place) / "dataset_info.json").is_file()


@pytest.mark.parametrize("archived", [False, True])
def test_prepared_data_archives_and_decoded_images_are_held(
    tmp_path: Path, archived: bool, folder_dir: Path
):
    source = folder_dir
    if archived:
        source = Path(shutil.make_archive(str(tmp_path / "images"), "zip", folder_dir))
    config = DataConfig(
        source=f"folder:{source}", data_dir=str(tmp_path / "data"), image_size=(8, 8)
    )
    open_data(config)
    mine = [place for place in copies.held() if place.is_relative_to(tmp_path / "data")]
    assert [place.relative_to(tmp_path / "data").parts[0] for place in mine] == (
        ["archives", "folder"] if archived else ["folder"]
    )
    assert all(place.is_dir() for place in mine)
