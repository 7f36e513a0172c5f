"""`convoy tune` from the command line."""

import pytest

from jobs.config import load
from jobs.exits import ConfigError
from jobs.tune import check_space, with_values


def test_the_best_values_make_a_job_file_that_runs(workplace):
    space = ['tune.space."train.optimizer".choice=["adam","sgd"]']
    space += ['tune.space."model.options.activation".choice=["relu"]']
    overrides = [part for override in space for part in ("--set", override)]
    result = workplace.result(
        "tune", "job.toml", "--trials", "2", "--set", "train.epochs=1", *overrides
    )
    assert len(result["trials"]) == 2
    assert result["best"] == result["trials"][0]
    assert result["best"].keys() == {"id", "state", "values", "score", "seconds", "reason"}
    [best] = workplace.path.glob("runs/tiny-tune/*/best.toml")
    job = load(best)
    assert job.train.optimizer == result["best"]["values"]["train.optimizer"]
    assert job.train.epochs == 1


def test_values_are_set_by_path(workplace):
    job = load(workplace.path / "job.toml")
    changed = with_values(job, {"train.batch_size": 7, "model.options.activation": "tanh"})
    assert (changed.train.batch_size, changed.model.options["activation"]) == (7, "tanh")
    assert changed.data == job.data


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ('tune.space."train.epoch".int=[1, 3]', "train.epoch: unknown key"),
        ('tune.space."train.epochs".int=[0, 3]', "train.epochs: .*greater than or equal to 1"),
        ('tune.space."model.options.activation".choice=["relu", "rel"]', "got 'rel'"),
        ('tune.space."model.name".choice=["lenet5", "lenet"]', "unknown model 'lenet'"),
    ],
)
def test_the_space_is_checked_before_the_first_trial(workplace, override, message):
    job = load(workplace.path / "job.toml", [override])
    with pytest.raises(ConfigError, match=message):
        check_space(job, job.tune)
