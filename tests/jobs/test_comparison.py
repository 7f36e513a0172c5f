"""`convoy compare`, on run directories with the files that runs leave."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from jobs.commands.compare import compare as command
from jobs.comparison import compare
from jobs.config import parse
from jobs.exits import ConfigError
from jobs.rundir import RunDir
from trainer.evaluate import Predictions, score
from trainer.history import write_history

NAMES = ("a", "b", "c")


def make_run(root: Path, hits: int, digest: str = "d1", **train) -> Path:
    """A finished run that answered `hits` of 60 test examples rightly."""
    job = parse(
        {
            "name": "pets",
            "data": {"source": "digits"},
            "model": {"name": "lenet5"},
            "train": {"batch_size": 30, **train},
        },
        "test",
    )
    run = RunDir.create(root, job.name, job.to_toml())
    labels = np.arange(60) % 3
    guesses = np.where(np.arange(60) < hits, labels, (labels + 1) % 3)
    sure = np.full((60, 3), 0.1, np.float32) + 0.7 * np.eye(3, dtype=np.float32)[guesses]
    run.write_json("evaluation.json", asdict(score(Predictions(sure, labels), NAMES, top_k=2)))
    counts = {"train": dict.fromkeys(NAMES, 40), "test": dict.fromkeys(NAMES, 20)}
    run.write_json("data.json", {"digest": digest, "counts": counts})
    run.write_json("precision.json", {"policy": "float32", "reason": "set by the job"})
    epochs = [
        {"epoch": n, "loss": 1 / n, "accuracy": 0.5, "val_loss": 1 / n, "val_accuracy": 0.5}
        | {"seconds": 0.5}
        for n in (1.0, 2.0, 3.0)
    ]
    write_history(run / "history.csv", epochs)
    (run / "model.keras").write_bytes(bytes(2_500_000))
    with run.stage("train"):
        pass
    return run.path


def test_settings_that_differ_and_scores_stand_side_by_side(tmp_path):
    runs = [make_run(tmp_path, 57), make_run(tmp_path, 45, epochs=7, optimizer="sgd")]
    told = compare(runs).to_json()
    assert told["same_data"] is True
    first, second = told["runs"]
    assert first["settings"] == {"train.epochs": 20, "train.optimizer": "adam"}
    assert second["settings"] == {"train.epochs": 7, "train.optimizer": "sgd"}
    assert (first["metrics"]["accuracy"], second["metrics"]["accuracy"]) == (0.95, 0.75)
    low, high = second["intervals"]["accuracy"]
    assert low < 0.75 < high < first["metrics"]["accuracy"]
    assert first["examples_per_second"] == 120 / 0.5  # 120 training examples of all classes
    assert (first["epochs"], first["best_epoch"], first["precision"]) == (3, 3, "float32")
    assert first["model_bytes"] == 2_500_000


def test_other_test_examples_are_told(tmp_path, capsys):
    runs = [make_run(tmp_path, 57), make_run(tmp_path, 57, digest="d2")]
    command(runs, json=True)
    out, err = capsys.readouterr()
    assert json.loads(out)["same_data"] is False
    assert "tested on different data" in err


def test_the_terminal_shows_three_runs_and_their_intervals(tmp_path, capsys):
    runs = [make_run(tmp_path, hits) for hits in (57, 54, 30)]
    command(runs)
    out = capsys.readouterr().out
    for run in runs:
        assert run.name in out
    assert "0.9500 (0." in out
    assert "2.50" in out  # MB
    assert "settings that differ" not in out  # none do


def test_runs_of_two_jobs_are_named_by_their_job_too(tmp_path):
    one = make_run(tmp_path, 57)
    moved = tmp_path / "dogs" / one.name
    moved.parent.mkdir()
    make_run(tmp_path, 54).rename(moved)
    assert compare([one, moved]).names == [f"pets/{one.name}", f"dogs/{one.name}"]


def test_what_cannot_be_compared_says_why(tmp_path):
    run = make_run(tmp_path, 57)
    with pytest.raises(ConfigError, match="at least 2 runs, received 1"):
        compare([run])
    with pytest.raises(ConfigError, match="is no run"):
        compare([run, tmp_path])
    (run / "evaluation.json").unlink()
    with pytest.raises(ConfigError, match=r"no scores yet: continue it with convoy train --resume"):
        compare([run, run])


def test_scores_of_a_run_made_before_there_were_intervals_still_show(tmp_path):
    old, new = make_run(tmp_path, 57), make_run(tmp_path, 45)
    kept = ("accuracy", "loss", "top_k", "top_k_accuracy", "per_class", "confusion")
    told = RunDir(old).read_json("evaluation.json")
    RunDir(old).write_json("evaluation.json", {name: told[name] for name in kept})
    (old / "precision.json").unlink()
    command([old, new], out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "0.9500" in page
    assert "macro_f1" in page


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_of_many_runs_fits_phone_and_desk(tmp_path, chromium, width):
    runs = [make_run(tmp_path, 40 + n, epochs=n + 1) for n in range(7)]
    command(runs, out=tmp_path / "page.html")
    look = chromium.look(tmp_path / "page.html", width)
    assert look.scroll_width <= width
    assert look.errors == []
    assert len(look.images) == 4
    assert all(image["width"] and image["alt"] for image in look.images)
    assert look.headings == ["Test scores", "Learning curves", "Settings that differ", "Training"]
