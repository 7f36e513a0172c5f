"""Preparations killed by SIGKILL, and started again."""

import io
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from pipeline.sources import archive, examination, open_source
from pipeline.sources.examination import CHUNK, Encoded, Examination
from pipeline.sources.source import quarantined

PREPARE = """
import sys
from pathlib import Path
from pipeline.sources import open_source
open_source(sys.argv[1], Path(sys.argv[2]))
"""
UNPACK = """
import sys
from pathlib import Path
from pipeline.sources import archive
archive.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of 520 files, one photograph of 1000x1000 and two files that are none."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photograph", format="JPEG")
    for label in ("cat", "dog"):
        directory = tmp_path / "photographs" / label
        directory.mkdir(parents=True)
        for number in range(520):
            os.link(tmp_path / "photograph", directory / f"{number:03}.jpg")
        (directory / "005.jpg").unlink()
        (directory / "005.jpg").write_text("no image")
    return tmp_path / "photographs"


def kill_when(code: str, arguments: list[str], begun) -> None:
    with subprocess.Popen([sys.executable, "-c", code, *arguments]) as process:
        deadline = time.monotonic() + 120
        while not begun() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -9, "it ended before it was killed"


def test_a_killed_preparation_goes_on_with_images_not_yet_decoded(
    photographs, data_dir, monkeypatch
):
    source, place = f"folder:{photographs}", data_dir / "killed"

    def noted() -> int:
        return sum(path.read_text().count("\n") for path in place.rglob(".*.examined"))

    kill_when(PREPARE, [source, str(place)], noted)
    chunks, decoded = noted(), []
    decode = examination._pixel_problem
    monkeypatch.setattr(examination, "_pixel_problem", lambda e: decoded.append(e) or decode(e))
    builder = open_source(source, place)
    assert len(decoded) <= 2 * 520 - chunks * CHUNK
    assert not noted()
    assert quarantined(builder) == [
        {"key": f"{label}/005.jpg", "reason": "no image"} for label in ("cat", "dog")
    ]
    raw = builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    examples = list(tfds.as_numpy(raw))
    assert len({example["key"] for example in examples}) == 2 * 519
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


def test_a_killed_unpacking_goes_on_with_files_that_it_lacks(tmp_path):
    random = np.random.default_rng(0)
    names = [f"train/{label}/{i}.png" for label in ("cat", "dog") for i in range(40)]
    content = {name: random.bytes(1 << 20) for name in names}
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in content.items():
            target.writestr(name, data)

    def written() -> list[Path]:
        return [path for path in tmp_path.rglob("*.png") if path.stat().st_size == 1 << 20]

    kill_when(UNPACK, [str(tmp_path / "a.zip"), str(tmp_path / "data")], written)
    before = {path.name: path.stat().st_mtime_ns for path in written()}
    root = archive.unpack(tmp_path / "a.zip", tmp_path / "data")
    found = {path.relative_to(root.parent).as_posix(): path for path in root.rglob("*.png")}
    assert {name: path.read_bytes() for name, path in found.items()} == content
    assert sum(path.stat().st_mtime_ns in before.values() for path in found.values()) >= len(before)
