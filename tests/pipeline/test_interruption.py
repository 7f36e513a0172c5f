"""Preparations killed by SIGKILL, and started again."""

import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pipeline import formats
from pipeline.sources import archive, examination, open_source
from pipeline.sources.examination import CHUNK, Encoded, Examination
from pipeline.sources.source import quarantined
from tests.support.forkserver import ForkServer
from tests.support.waiting import until

PHOTOGRAPHS = 160  # of each class: more than one chunk of both
UNPACK = """
import sys
from pathlib import Path
from pipeline.sources import archive
archive.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of files: one photograph under many names, and two that are none."""
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photograph", format="JPEG")
    for label in ("cat", "dog"):
        directory = tmp_path / "photographs" / label
        directory.mkdir(parents=True)
        for number in range(PHOTOGRAPHS):
            os.link(tmp_path / "photograph", directory / f"{number:03}.jpg")
        (directory / "005.jpg").unlink()
        (directory / "005.jpg").write_text("no image")
    return tmp_path / "photographs"


def test_a_killed_preparation_goes_on_with_images_not_yet_decoded(
    photographs: Path, tmp_path: Path, stalled, monkeypatch: pytest.MonkeyPatch
):
    source, place = f"folder:{photographs}", tmp_path / "killed"

    def noted() -> int:
        return sum(path.read_text().count("\n") for path in place.rglob(".*.examined"))

    stalled(photographs, place)
    chunks, decoded = noted(), []
    assert chunks > 0
    decode = examination.decoding_problem

    def counted(encoded: bytes) -> str | None:
        decoded.append(encoded)
        return decode(encoded)

    monkeypatch.setattr(examination, "decoding_problem", counted)
    builder = open_source(source, place)
    assert len(decoded) <= 2 * PHOTOGRAPHS - chunks * CHUNK
    assert not noted()
    assert quarantined(builder) == [
        {"key": f"{label}/005.jpg", "reason": formats.UNKNOWN} for label in ("cat", "dog")
    ]
    raw = builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    examples = list(tfds.as_numpy(raw))
    assert len({example["key"] for example in examples}) == 2 * (PHOTOGRAPHS - 1)
    assert {example["image"] for example in examples} == {
        (photographs / "cat/000.jpg").read_bytes()
    }


def test_a_note_cut_off_by_a_kill_is_no_note(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, format="PNG")
    images = [Encoded(str(i), buffer.getvalue() if i % 2 else b"", {}) for i in range(CHUNK + 3)]
    notes = tmp_path / "notes"
    first, second = Examination(), Examination()
    with first.noted_in(notes):
        kept = list(first.sound("train", images))
        whole = notes.read_bytes()
    assert not notes.exists()
    notes.write_bytes(whole[:-5])
    with second.noted_in(notes):
        assert list(second.sound("train", images)) == kept
        assert (second.quarantine, notes.read_bytes()) == (first.quarantine, whole)


def test_a_killed_unpacking_goes_on_with_files_that_it_lacks(
    tmp_path: Path, forkserver: ForkServer
):
    random = np.random.default_rng(0)
    names = [f"train/{label}/{i}.png" for label in ("cat", "dog") for i in range(10)]
    content = {name: random.bytes(1 << 10) for name in names}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in content.items():
            target.writestr(name, data)
    digest = hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()[:16]
    staged = tmp_path / "data/archives" / f"{digest}.partial"
    *whole, last = (staged / name for name in names[:13])
    last.parent.mkdir(parents=True)
    os.mkfifo(last)  # which nobody reads: here the unpacking waits to be killed

    def is_whole(path: Path) -> bool:
        return path.is_file() and path.stat().st_size == 1 << 10

    arguments = (str(tmp_path / "a.zip"), str(tmp_path / "data"))
    with forkserver.start("-c", UNPACK, *arguments) as process:
        until(lambda: is_whole(whole[-1]) or process.poll() is not None)
        process.kill()
        assert process.wait() == -9, "it ended before it was killed"
    before = [path.stat().st_mtime_ns for path in whole]
    last.unlink()
    last.write_bytes(content[names[12]][:100])  # what a kill leaves of the file it falls into
    root = archive.unpack(tmp_path / "a.zip", tmp_path / "data")
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*.png")}
    assert {name: path.read_bytes() for name, path in found.items()} == content
    assert [found[name].stat().st_mtime_ns for name in names[:12]] == before
