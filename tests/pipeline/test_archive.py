"""Archives as people make them, and as attackers do."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.sources import archive, open_source

CLASSES = ("녹내장", "정상")


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def glaucoma(top: str = "") -> dict[str, bytes]:
    """The files of the course's archive in small: train and test, a directory for each class."""
    return {
        f"{top}{split}/{label}/{i}.png": png(40 * i + 10 * k + len(split))
        for split, count in (("train", 4), ("test", 2))
        for k, label in enumerate(CLASSES)
        for i in range(count)
    }


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in files.items():
            target.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as target:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("top", ["", "glaucoma/"])
@pytest.mark.parametrize(("write", "name"), [(write_zip, "g.zip"), (write_tar, "g.tar.gz")])
def test_an_archive_is_a_folder(tmp_path, data_dir, write, name, top):
    builder = open_source(f"folder:{write(tmp_path / name, glaucoma(top))}", data_dir)
    assert builder.info.features["label"].names == list(CLASSES)
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert sizes == {"train": 8, "test": 4}


def test_names_without_a_flag_are_read_as_korean_windows_writes_them(tmp_path):
    path = write_zip(tmp_path / "plain.zip", {"ABCD/0.png": png(0), "EFGHIJ/0.png": png(9)})
    raw = path.read_bytes()
    for plain, korean in (("ABCD", "정상"), ("EFGHIJ", "녹내장")):
        assert len(korean.encode("cp949")) == len(plain)
        raw = raw.replace(plain.encode(), korean.encode("cp949"))
    path.write_bytes(raw)
    root = archive.unpack(path, tmp_path)
    assert sorted(child.name for child in root.iterdir()) == ["녹내장", "정상"]


def test_the_same_archive_is_unpacked_once(tmp_path):
    path = write_zip(tmp_path / "g.zip", glaucoma())
    root = archive.unpack(path, tmp_path)
    marker = root / "train" / "marker"
    marker.touch()
    renamed = path.rename(tmp_path / "other name.zip")
    assert archive.unpack(renamed, tmp_path) == root
    assert marker.exists()


@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/evil.png", "..\\evil.png"])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_nothing_is_written_outside(tmp_path, write, name):
    path = write(tmp_path / ("x.zip" if write is write_zip else "x.tar.gz"), {name: b"evil"})
    with pytest.raises(ValueError, match="lies outside of its directory"):
        archive.unpack(path, tmp_path / "data")
    assert not list(tmp_path.rglob("evil.png"))
    left = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert sorted(p.suffix for p in left) == [".lock", ".use"]


def test_links_are_refused_in_zip_and_tar(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as target:
        link = zipfile.ZipInfo("train/a/0.png")
        link.external_attr = 0o120777 << 16
        target.writestr(link, "/etc/passwd")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as target:
        for name, kind in (("s", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            target.addfile(entry)
    for name in ("x.zip", "x.tar.gz"):
        with pytest.raises(ValueError, match="is a link; only files are taken"):
            archive.unpack(tmp_path / name, tmp_path / "data")


def test_a_bomb_is_refused_before_anything_is_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("train/a/0.png", b"\0" * (64 << 20))
    with pytest.raises(ValueError, match=r"would unpack to 1 files of 67,108,864 bytes"):
        archive.unpack(tmp_path / "bomb.zip", tmp_path / "data")
    left = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert sorted(p.suffix for p in left) == [".lock", ".use"]


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("train/a/0.png", b"\0" * (1 << 20))
    size = (1 << 20).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(ValueError, match="liar.zip|more bytes than it says"):
        archive.unpack(path, tmp_path / "data")
    left = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert sorted(p.suffix for p in left) == [".lock", ".use"]


@pytest.mark.parametrize("name", ["cut.zip", "cut.tar.gz"])
def test_a_damaged_archive_is_named(tmp_path, data_dir, name):
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, glaucoma())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="no archive that can be unpacked"):
        open_source(f"folder:{path}", data_dir)
