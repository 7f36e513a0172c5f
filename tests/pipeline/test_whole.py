"""A file is replaced in one step, or stays as it was."""

import pytest

from pipeline.whole import write_whole


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
