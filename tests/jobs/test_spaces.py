"""The ready search spaces: each is accepted for the job that its head names, and gives values."""

import re
import shlex
from pathlib import Path

import pytest

from jobs.config import load
from jobs.exits import ConfigError
from jobs.preparation import check_model
from jobs.rundir import RunDir
from jobs.trial import with_assignment
from jobs.tune import open_study, resolve
from tests.support.search import drawn
from tuning.trial import Outcome

ROOT = Path(__file__).parents[2]
SPACES = sorted(ROOT.glob("configs/spaces/*.toml"))
VARIED = {  # what a researcher varies in a dense network
    "model.options.hidden_layers", "model.options.units", "model.options.activation",
    "model.options.initializer", "model.options.dropout", "model.options.batch_norm",
    "train.loss", "train.optimizer", "train.learning_rate", "train.epochs", "train.batch_size",
}  # fmt: skip


def command(space: Path) -> list[str]:
    """The command in the file's head, continued lines joined."""
    head = space.read_text().replace(" \\\n#", "")
    found = re.search(r"#   convoy tune (.*)", head)
    assert found is not None, f"{space} names no command"
    return shlex.split(found.group(1))


def job_of(space: Path):
    words = command(space)
    assert ROOT / words[words.index("--space") + 1] == space
    overrides = [word for before, word in zip(words, words[1:], strict=False) if before == "--set"]
    return resolve(load(ROOT / words[0], overrides, space))


@pytest.mark.parametrize("space", SPACES, ids=lambda path: path.stem)
def test_a_ready_space_suits_its_job_and_gives_values_that_train(space, tmp_path):
    job = job_of(space)
    study = open_study(job, RunDir.create(tmp_path, "search", job.to_toml()))
    for _ in range(8):
        given = drawn(study)
        assert given.values.keys() == job.tune.space.keys()
        check_model(with_assignment(job, given))
        study.finish(given.trial, Outcome("scored", 0.5, 3))


def test_all_that_a_researcher_varies_can_be_searched():
    job = job_of(ROOT / "configs/spaces/dense.toml")
    assert job.tune.space.keys() == VARIED


def test_settings_of_the_command_come_after_those_of_the_space(workplace):
    space = ROOT / "configs/spaces/architectures.toml"
    job = load(workplace.path / "job.toml", ["tune.max_trials=3", "tune.seed=7"], space)
    assert job.tune
    assert (job.tune.max_trials, job.tune.seed, job.tune.algorithm) == (3, 7, "random")
    assert job.tune.space.keys() == {"model.name", "train.batch_size", "train.optimizer"}


@pytest.mark.parametrize("text", ["", "[train]\nepochs = 3", "tune = 3", "[tune]\n[train]"])
def test_a_file_that_is_no_space_is_refused(workplace, tmp_path, text):
    with pytest.raises(ConfigError, match="no search space .*space.toml"):
        load(workplace.path / "job.toml", [], tmp_path / "space.toml")
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(ConfigError, match="expected the section tune alone, received"):
        load(workplace.path / "job.toml", [], tmp_path / "space.toml")
