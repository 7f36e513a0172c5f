"""A saved network meets data that were opened anew: by the names of classes, or not at all."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.config import Job
from jobs.exits import ConfigError
from jobs.fingerprint import fingerprint
from jobs.preparation import load_data, load_data_of
from jobs.rundir import DATA, RunDir
from pipeline import trained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 20 images."""
    for label in ("bee", "cat", "dog"):
        add(tmp_path / "d", label)
    return tmp_path / "d"


def add(root: Path, label: str) -> None:
    random = np.random.default_rng(len(label) + ord(label[0]))
    (root / label).mkdir(parents=True)
    for number in range(20):
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / label / f"{number}.png")


def job_of(folder: Path, data_dir: Path, **data) -> Job:
    source = {"source": f"folder:{folder}", "image_size": [16, 16], "data_dir": str(data_dir)}
    tree = {"name": "m", "data": source | data, "model": {"name": "lenet5"}}
    return Job.model_validate(tree)


def run_of(place: Path, job: Job, names: tuple[str, ...]) -> RunDir:
    """What an earlier run has left, as far as its classes and examples go."""
    run = RunDir.begin(place / "run", job.to_toml())
    run.write_json(DATA, {"class_names": names})
    contents = load_data(job).source.slices["train"].contents()
    run.write_bytes(trained.FILE_NAME, trained.record(contents))
    return run


def test_classes_that_the_network_does_not_know_are_left_out_and_named(
    folder, tmp_path, data_dir, caplog
):
    job = job_of(folder, data_dir)
    run = run_of(tmp_path, job, ("bee", "cat", "dog"))
    before = load_data_of(run, job).info
    assert "left out" not in caplog.text
    add(folder, "ant")
    with caplog.at_level(logging.WARNING):
        after = load_data_of(run, job).info
    assert "was not trained on the class ant, whose examples are left out" in caplog.text
    assert after.class_names == ("bee", "cat", "dog")
    assert after.counts == before.counts


def test_the_network_decides_on_the_order(folder, tmp_path, data_dir):
    job = job_of(folder, data_dir)
    data = load_data_of(run_of(tmp_path, job, ("dog", "bee", "cat")), job)
    assert data.info.class_names == ("dog", "bee", "cat")
    for example in data.source.slices["test"].read().as_numpy_iterator():
        assert example["key"].decode().startswith(data.info.class_names[example["label"]])


def test_a_class_that_is_gone_is_refused_in_one_line(folder, tmp_path, data_dir):
    job = job_of(folder, data_dir)
    run = run_of(tmp_path, job, ("ant", "bee", "cat"))
    with pytest.raises(ConfigError, match="has no class ant any more") as raised:
        load_data_of(run, job)
    assert "\n" not in str(raised.value)


def test_what_was_trained_on_is_no_test_in_silence(folder, tmp_path, data_dir, caplog):
    job = job_of(folder, data_dir)
    run = run_of(tmp_path, job, ("bee", "cat", "dog"))
    other = job_of(folder, data_dir, test_fraction=0.6, validation_fraction=0.1)
    with caplog.at_level(logging.WARNING):
        load_data_of(run, other)
    assert "are among those that" in caplog.text
    (run / trained.FILE_NAME).unlink()
    with caplog.at_level(logging.WARNING):
        load_data_of(run, job)
    assert "does not say what it was trained on" in caplog.text


def test_weights_count_by_content(tmp_path, data_dir):
    def of(path: Path) -> str:
        job = job_of(tmp_path, data_dir)
        model = job.model.model_copy(update={"weights": str(path)})
        return fingerprint(job.model_copy(update={"model": model}), "digest")

    run, file = tmp_path / "run", tmp_path / "a.keras"
    run.mkdir()
    for path in (file, run / "model.keras"):
        source = path if path is file else run
        path.write_bytes(b"before")
        before = of(source)
        assert of(source) == before
        path.write_bytes(b"after")
        assert of(source) != before
