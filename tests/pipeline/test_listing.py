"""Every file below a directory is an image, or has its reason."""

import os
from pathlib import Path

import pytest

from pipeline.listing import (
    DEAD,
    HIDDEN,
    LOOP,
    NOT_REGULAR,
    count_reasons,
    directories,
    files_below,
    is_clutter,
    passed_over,
    readable,
)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def reasons(root: Path) -> dict[str, str | None]:
    return {readable(path, root): passed_over(path, root) for path in files_below(root)}


def test_images_are_found_at_any_depth_and_the_rest_is_told_by_its_ending(tmp_path):
    for name in ("a.png", "b/c.JPG", "b/d/e.webp", "b/notes.txt", "README", "b/.hidden.png"):
        touch(tmp_path / name)
    touch(tmp_path / ".git/picture.png")
    assert reasons(tmp_path) == {
        **dict.fromkeys(("a.png", "b/c.JPG", "b/d/e.webp", "b/.hidden.png")),
        "b/notes.txt": "*.txt",
        "README": "no ending",
        ".git/picture.png": HIDDEN,
    }


def test_links_are_followed_but_not_around_in_circles(tmp_path):
    elsewhere = touch(tmp_path / "elsewhere/x.png").parent
    root = touch(tmp_path / "root/cat/y.png").parent.parent
    (root / "cat/file.png").symlink_to(elsewhere / "x.png")
    (root / "cat/more").symlink_to(elsewhere)
    (root / "cat/up").symlink_to(root)
    (root / "cat/out.png").symlink_to("/nowhere/x.png")
    (root / "cat/itself.png").symlink_to("itself.png")
    (root / "cat/above").symlink_to(tmp_path)
    (elsewhere / "back").symlink_to(root)
    os.mkfifo(root / "cat/pipe.png")
    assert reasons(root) == {
        **dict.fromkeys(("cat/y.png", "cat/file.png", "cat/more/x.png")),
        **dict.fromkeys(("cat/more/back", "cat/up", "cat/above"), LOOP),
        "cat/out.png": DEAD,
        "cat/itself.png": DEAD,
        "cat/pipe.png": NOT_REGULAR,
    }
    (root / "round").symlink_to(root)
    assert directories(root) == [root / "cat"]


@pytest.mark.parametrize("name", ["._x.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX"])
def test_what_systems_leave_behind_is_no_file_of_anyone(tmp_path, name):
    touch(tmp_path / "cat" / name)
    touch(tmp_path / "__MACOSX/cat/._y.png")
    assert is_clutter(name)
    assert reasons(tmp_path) == {}


def test_a_name_that_is_no_utf8_can_be_read(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.touch()
    assert reasons(tmp_path) == {"caf\\xe9.png": None}


def test_reasons_are_counted_most_frequent_first():
    named = [(f"{i}.png", DEAD) for i in range(1200)]
    assert count_reasons([("README", "no ending"), *named]) == (
        "a link to nowhere: 1,200 (0.png, 1.png, 2.png, ...); no ending: 1 (README)"
    )
