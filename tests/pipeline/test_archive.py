"""Archives as people make them, and as attackers do."""

import gzip
import io
import tarfile
import unicodedata
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


@pytest.mark.parametrize("top", ["", "glaucoma/", "download/glaucoma/"])
@pytest.mark.parametrize(("write", "name"), [(write_zip, "g.zip"), (write_tar, "g.tar.gz")])
def test_an_archive_is_a_folder(tmp_path, data_dir, write, name, top):
    files = glaucoma(top) | {"README": b"about", f"{top}README.md": b"about"}
    builder = open_source(f"folder:{write(tmp_path / name, files)}", data_dir)
    assert builder.info.features["label"].names == list(CLASSES)
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert sizes == {"train": 8, "test": 4}
    assert {file["key"] for file in builder.passed_over} == {"README", f"{top}README.md"}


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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".", "which is no name"),
        ("a/" + "n" * 256, "is longer than the 255 bytes of a name"),
        ("d/" * 1024 + "x", "or the 2048 of a path"),
        ("a", "'a' is a file and a directory at once"),
    ],
    ids=["dot", "long", "deep", "both"],
)
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_odd_names_are_one_line_and_leave_nothing(tmp_path, write, name, reason):
    suffix = "zip" if write is write_zip else "tar.gz"
    path = write(tmp_path / f"x.{suffix}", {"a/0.png": png(1), name: b"odd"})
    with pytest.raises(ValueError, match=reason) as caught:
        archive.unpack(path, tmp_path / "data")
    assert "\n" not in str(caught.value)
    left = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
    assert sorted(p.suffix for p in left) == [".lock", ".use"]


def test_many_empty_members_and_large_headers_are_refused_when_they_are_met(tmp_path):
    many = write_tar(tmp_path / "many.tar.gz", {f"a/{i}": b"" for i in range(4000)})
    with pytest.raises(ValueError, match=r"would unpack to [0-9,]+ files of [0-9,]+ bytes or more"):
        archive.unpack(many, tmp_path / "data")
    with tarfile.open(tmp_path / "pax.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as target:
        entry = tarfile.TarInfo("a/0.png")
        entry.pax_headers = {"comment": "x" * (2 << 20)}
        target.addfile(entry)
    with pytest.raises(ValueError, match=r"it has a header of 2,097,[0-9]+ bytes"):
        archive.unpack(tmp_path / "pax.tar.gz", tmp_path / "data")


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


def blocks(raw: bytes) -> list[int]:
    """Where the headers of a tar archive stand."""
    return [i for i in range(0, len(raw), tarfile.BLOCKSIZE) if raw[i + 257 : i + 262] == b"ustar"]


def damaged_tars() -> dict[str, bytes]:
    """An archive with damage of each kind, of which tarfile says nothing."""
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as target:
            for name, data in glaucoma().items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                target.addfile(entry, io.BytesIO(data))
        raw = buffer.getvalue()
    place = blocks(raw)[5]
    bit, zeros = bytearray(raw), bytearray(raw)
    bit[place + 150] ^= 1
    zeros[place : place + tarfile.BLOCKSIZE] = bytes(tarfile.BLOCKSIZE)
    end = blocks(raw)[-1] + 2 * tarfile.BLOCKSIZE
    return {
        "one bit of a header": bytes(bit),
        "a header of zeros": bytes(zeros),
        "cut between members": raw[:place],
        "cut in a header": raw[: place + 100],
        "without its end": raw[:end],
        "two of them": raw + raw,
    }


@pytest.mark.parametrize("kind", damaged_tars())
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["tar", "gz"])
def test_a_damaged_tar_is_not_taken_for_a_shorter_one(tmp_path, kind, compress):
    path = tmp_path / ("x.tar" if compress is bytes else "x.tar.gz")
    path.write_bytes(compress(damaged_tars()[kind]))
    with pytest.raises(ValueError, match=r"x\.tar.* no archive that can be unpacked: .* at byte"):
        archive.unpack(path, tmp_path / "data")


@pytest.mark.parametrize("place", [-8, -4, 400], ids=["checksum", "length", "content"])
def test_damage_of_the_compression_is_found(tmp_path, place):
    path = write_tar(tmp_path / "x.tar.gz", glaucoma())
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0x55
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=r"x\.tar\.gz is no archive that can be unpacked"):
        archive.unpack(path, tmp_path / "data")


def changed_entries(path: Path, place: int, change: bytes) -> Path:
    """Change what both headers of every entry of a zip file say at a place of the local one."""
    raw = bytearray(path.read_bytes())
    for magic, further in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        start = -1
        while (start := raw.find(magic, start + 1)) >= 0:
            raw[start + place + further : start + place + further + len(change)] = change
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("place", "change", "words"),
    [
        (6, b"\1\0", "has a password; unpack it yourself"),
        (8, b"\x09\0", "is compressed by Deflate64, which is not read; unpack it yourself"),
        (8, b"\x61\0", "is compressed by method 97"),
        (8, b"\x0e\0", "is no archive that can be unpacked"),
        (14, b"abcd", "is no archive that can be unpacked: Bad CRC-32"),
    ],
    ids=["password", "Deflate64", "unknown", "no LZMA", "checksum"],
)
def test_a_zip_that_cannot_be_read_is_told_in_one_line(tmp_path, place, change, words):
    path = changed_entries(write_zip(tmp_path / "x.zip", glaucoma()), place, change)
    with pytest.raises(ValueError, match=words) as problem:
        archive.unpack(path, tmp_path / "data")
    assert str(path) in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_zip_whose_compression_is_damaged_is_told_in_one_line(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("cat/0.png", bytes(range(256)) * 8)
    raw = path.read_bytes()
    path.write_bytes(raw[:45] + b"\xff" * 8 + raw[53:])
    with pytest.raises(ValueError, match=r"x\.zip is no archive that can .*decompress"):
        archive.unpack(path, tmp_path / "data")


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_files_whose_names_differ_in_their_normal_form_are_two_files(tmp_path, write):
    forms = [unicodedata.normalize(form, "고양이/é.png") for form in ("NFC", "NFD")]
    path = tmp_path / ("x.zip" if write is write_zip else "x.tar.gz")
    root = archive.unpack(write(path, {name: name.encode() for name in forms}), tmp_path / "data")
    assert sorted(p.read_bytes() for p in root.rglob("*.png")) == sorted(n.encode() for n in forms)


def test_a_name_that_stands_twice_is_told_and_the_last_counts(tmp_path, caplog):
    with tarfile.open(tmp_path / "x.tar", "w") as target:
        for data in (b"old", b"new"):
            entry = tarfile.TarInfo("cat/0.png")
            entry.size = len(data)
            target.addfile(entry, io.BytesIO(data))
    root = archive.unpack(tmp_path / "x.tar", tmp_path / "data")
    assert (root / "cat/0.png").read_bytes() == b"new"
    assert "1 files of the archive have the name of a later one" in caplog.text


def test_a_class_is_no_wrapper(tmp_path, data_dir):
    """Its directories would be taken for classes."""
    files = {f"cat/{place}{i}.png": png(i) for i in range(4) for place in ("", "2024/", "2025/")}
    with pytest.raises(ValueError, match=r"at least 2 classes, .* has 1 \(cat\)"):
        open_source(f"folder:{write_zip(tmp_path / 'x.zip', files)}", data_dir)
