"""Damaged files end in one error that was meant, or in nothing at all: never in another.

Requests are in tests/serving/test_fuzz.py, decoders in tests/trainer/test_decoder_fuzz.py.
"""

import io
import json
import shutil
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.config import load
from jobs.exits import ConfigError
from pipeline.listing import SIGNATURES
from pipeline.sources import archive
from serving import history, manifest, pixels
from serving.errors import RequestError, StoreError
from tests.support.classifier import write_manifest
from tests.support.mutations import corpus, mutated

ROOT = Path(__file__).parent.parent
CASES = [100, pytest.param(20_000, marks=pytest.mark.full)]


@pytest.mark.parametrize("cases", CASES)
def test_damaged_job_files(tmp_path: Path, cases: int):
    configs = [path.read_bytes() for path in sorted((ROOT / "configs").glob("*.toml"))]
    for case in range(cases):
        (tmp_path / "job.toml").write_bytes(mutated(configs, f"job {case}"))
        with suppress(ConfigError):
            load(tmp_path / "job.toml")


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_damaged_archives_leave_all_or_nothing(tmp_path: Path, suffix: str, cases: int):
    whole = archived(suffix)
    for case in range(cases):
        place, file = tmp_path / str(case), tmp_path / f"{case}{suffix}"
        file.write_bytes(mutated([whole], str(case)))
        problem = ""
        try:
            archive.unpack(file, place)
        except ValueError as error:
            problem = str(error)
        assert "\n" not in problem
        assert not problem or not list((place / "archives").glob("*/*"))
        shutil.rmtree(place, ignore_errors=True)
        file.unlink()


@pytest.mark.parametrize("cases", CASES)
def test_damaged_manifests(tmp_path: Path, cases: int):
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    write_manifest(model)
    whole = (model / manifest.MANIFEST).read_bytes()
    for case in range(cases):
        damaged = mutated([whole], str(case))
        (model / manifest.MANIFEST).write_bytes(damaged)
        try:
            manifest.verify(model)
        except StoreError:
            continue
        assert json.loads(damaged)["files"] == json.loads(whole)["files"]


@pytest.mark.parametrize("cases", CASES)
def test_damaged_histories(tmp_path: Path, cases: int):
    path = tmp_path / "history.jsonl"
    for version in range(3):
        history.append(path, "publish", version=version, label="stable")
    whole = path.read_bytes()
    for case in range(cases):
        path.write_bytes(mutated([whole], str(case)))
        events = history.read(path)
        history.rollback_target(events, 2, [0, 1, 2])
        history.published(events)


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("file_format", SIGNATURES)
def test_damaged_headers(file_format: str, cases: int):
    files = corpus(file_format)
    for case in range(cases):
        with suppress(RequestError):
            width, height = pixels.dimensions(mutated(files, str(case))) or (0, 0)
            assert width >= 0 <= height


def archived(suffix: str) -> bytes:
    """An archive of two classes."""
    files = {f"{label}/{i}.png": bytes([i]) * 50 for label in ("cat", "dog") for i in range(3)}
    buffer = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz" if suffix == ".tar.gz" else "w") as tarred:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tarred.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
