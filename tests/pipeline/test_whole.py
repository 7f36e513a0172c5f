"""A file is replaced in one step, or stays as it was; what is done with goes as far as it can."""

import pytest

from pipeline.whole import clear, write_whole
from tests.support.crash import refusing


def test_the_content_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "state.json"
    for content in (b"old", b"new"):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_the_old_content(tmp_path):
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    (tmp_path / ".state.json.partial").mkdir()  # in the way
    with pytest.raises(IsADirectoryError):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_what_cannot_be_deleted_is_left_with_one_warning(tmp_path, caplog):
    done = tmp_path / "done"
    for name in ("a", "held", "z"):
        (done / name).mkdir(parents=True)
        (done / name / f"{name}.bin").touch()
    with refusing("os.remove", "held.bin"):
        assert clear(done) is False
    assert [path.name for path in done.iterdir()] == ["held"]
    assert len(caplog.records) == 1
    assert clear(done) is True
    assert clear(done) is True  # it is gone
    assert not done.exists()


def test_a_link_is_unlinked_and_what_it_names_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert clear(tmp_path / "link")
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
