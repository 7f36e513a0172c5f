"""A job's search space, and what a search leaves, without training anything."""

import json

import pytest

from jobs.config import load
from jobs.exits import ConfigError, NoTrialCompleted
from jobs.rundir import RunDir
from jobs.trial import with_assignment
from jobs.tune import (
    JOURNAL,
    check_space,
    conclude,
    last_best,
    open_study,
    read_trials,
    resolve,
)
from jobs.values import read_values, with_values
from tests.support.search import drawn
from tuning.trial import Assignment, Outcome

SPACE = [
    'tune.space."train.optimizer".choice=["adam","sgd"]',
    'tune.space."train.learning_rate".float=[1e-4,1e-1]',
    'tune.space."train.learning_rate".sampling="log"',
]


@pytest.fixture
def job(workplace):
    return resolve(load(workplace.path / "job.toml", [*SPACE, "tune.max_trials=4"]))


def make_run(workplace, job):
    return RunDir.create(workplace.path / "runs", "tiny-tune", job.to_toml())


def finish(job, run, score=lambda values: 1 - values["train.learning_rate"]):
    """Run the search with scores known in advance; None fails a trial."""
    study = open_study(job, run)
    while (given := study.next()) is not None:
        value = score(given.values)
        scored = Outcome("scored", value, 3)
        study.finish(given.trial, scored if value is not None else Outcome("raised", reason="no"))
    return study


def test_values_are_set_by_path(workplace):
    job = load(workplace.path / "job.toml")
    changed = with_values(job, {"train.batch_size": 7, "model.options.activation": "tanh"})
    assert (changed.train.batch_size, changed.model.options["activation"]) == (7, "tanh")
    assert changed.data == job.data


def test_hyperband_s_epochs_replace_the_job_s(workplace):
    job = load(workplace.path / "job.toml")
    assert with_assignment(job, Assignment("1", {}, epochs=9)).train.epochs == 9


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (['tune.space."train.epoch".int=[1, 3]'], "train.epoch: unknown key"),
        (['tune.space."train.epochs".int=[0, 3]'], "train.epochs: .*greater than or equal to 1"),
        (['tune.space."data.augment.rotation".float=[0, 3]'], "rotation: unknown key"),
        (
            ['tune.space."data.seed".int=[0, 3]'],
            "tune.space.data.seed: cannot be searched.*allowed: fields of model, train, data.aug",
        ),
        (['tune.space."model.options.activation".choice=["relu", "rel"]'], "got 'rel'"),
        (['tune.space."model.name".choice=["lenet5", "lenet"]'], "unknown model 'lenet'"),
        (
            [
                'tune.space."model.name".choice=["lenet5", "resnet18"]',
                'tune.space."model.options.batch_norm".bool=true',
            ],
            "model 'resnet18' has no option 'batch_norm'",
        ),
        (
            ['tune.space."train.epochs".int=[1, 3]', "tune.algorithm=hyperband"],
            "hyperband itself decides how many epochs",
        ),
    ],
)
def test_the_space_is_checked_before_the_first_trial(workplace, overrides, message):
    job = load(workplace.path / "job.toml", overrides)
    assert job.tune
    with pytest.raises(ConfigError, match=message):
        check_space(job, job.tune)


def test_an_option_may_depend_on_the_architecture(workplace):
    job = load(
        workplace.path / "job.toml",
        [
            'tune.space."model.name".choice=["lenet5", "resnet18"]',
            'tune.space."model.options.activation".choice=["relu", "tanh"]',
            'tune.space."model.options.activation".when."model.name"=["lenet5"]',
            'tune.space."data.augment.rotation_range".float=[0, 20]',
        ],
    )
    assert resolve(job).tune is not None


def test_hyperband_takes_the_epochs_of_the_job_and_no_other_algorithm_has_any(workplace):
    for algorithm, epochs in (("hyperband", 3), ("random", None)):
        given = [f"tune.algorithm={algorithm}", "train.epochs=3"]
        tune = resolve(load(workplace.path / "job.toml", given)).tune
        assert tune is not None
        assert tune.hyperband.max_epochs == epochs


def test_a_search_leaves_its_best_for_convoy_run_and_for_tfx(workplace, job):
    run = make_run(workplace, job)
    found = conclude(job, run, finish(job, run))
    assert found.best == found.trials[0]
    assert load(run / "best.toml").train.learning_rate == found.best.values["train.learning_rate"]
    assert read_values(run / "best_hyperparameters.txt") == found.best.values
    stored = json.loads((run / "best_hyperparameters.txt").read_text())
    assert stored.keys() == {"space", "values"}
    assert (run / "leaderboard.csv").read_text().count("\n") == 5
    assert "4 of 4 trials completed" in (run / "report.html").read_text()
    keys = {"id", "state", "values", "score", "seconds", "reason"}
    assert found.to_json()["best"].keys() == keys


def test_a_failed_trial_is_never_the_best(workplace, job):
    run = make_run(workplace, job)
    study = finish(job, run, lambda v: None if v["train.optimizer"] == "adam" else 0.2)
    found = conclude(job, run, study)
    assert found.best.values["train.optimizer"] == "sgd"
    assert read_values(run / "best_hyperparameters.txt") == found.best.values


def test_a_search_without_any_success_says_why(workplace, job):
    run = make_run(workplace, job)
    with pytest.raises(NoTrialCompleted, match="none of 4 trials completed: no"):
        conclude(job, run, finish(job, run, lambda values: None))
    assert (run / "report.html").is_file()


def test_the_next_search_starts_with_the_best_of_the_last(workplace, job):
    first = make_run(workplace, job)
    best = conclude(job, first, finish(job, first)).trials
    second = RunDir(first.path.with_name("99991231T000000Z-next"))
    second.path.mkdir()
    assert last_best(second, job.tune) == [trial.values for trial in best[:3]]
    study = open_study(job, second)
    assert drawn(study).values == {"train.optimizer": "adam", "train.learning_rate": 3e-3}
    following = [drawn(study).values for _ in range(3)]
    expected = [t.values for t in best if t.id != "0"]
    assert following[0] == expected[0]


def test_old_searches_keep_their_records_and_lose_their_trials(workplace):
    sparing = resolve(
        load(workplace.path / "job.toml", [*SPACE, "tune.max_trials=2", "runs.keep=1"])
    )
    first = make_run(workplace, sparing)
    (first / "trials" / "0" / "training" / "checkpoints").mkdir(parents=True)
    conclude(sparing, first, finish(sparing, first))
    assert not (first / "trials" / "0" / "training" / "checkpoints").exists()
    assert (first / "trials" / "0" / "training").is_dir()
    second = RunDir.begin(first.path.with_name("99991231T000000Z-next"), sparing.to_toml())
    conclude(sparing, second, finish(sparing, second))
    assert not (first / "trials").exists()
    assert (first / JOURNAL).is_file()
    assert (first / "report.html").is_file()


def test_values_that_the_space_no_longer_knows_are_not_taken_over(workplace, job):
    run = make_run(workplace, job)
    finish(job, run)
    later = RunDir(run.path.with_name("99991231T000000Z-next"))
    narrow = load(workplace.path / "job.toml", ['tune.space."train.epochs".int=[1, 2]'])
    assert narrow.tune
    assert last_best(later, narrow.tune) == []


def test_trials_that_run_are_shown_with_those_that_ended(workplace, job):
    run = make_run(workplace, job)
    study = open_study(job, run)
    study.finish(drawn(study).trial, Outcome("scored", 0.5, 3))
    study.next()
    assert [trial.state for trial in read_trials(run)] == ["COMPLETED", "RUNNING"]


def test_a_damaged_journal_is_refused_with_one_line(workplace, job):
    run = make_run(workplace, job)
    finish(job, run)
    lines = (run / JOURNAL).read_text().splitlines()
    (run / JOURNAL).write_text("\n".join([lines[0], lines[1][:9], *lines[2:]]) + "\n")
    for use in (lambda: read_trials(run), lambda: open_study(job, run)):
        with pytest.raises(ConfigError, match=r"journal.jsonl is damaged in line 2") as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", '{"space": []}', "no json"])
def test_a_file_without_hyperparameters_is_refused(tmp_path, text):
    (tmp_path / "f.txt").write_text(text)
    with pytest.raises(ConfigError, match="holds no hyperparameters: expected JSON"):
        read_values(tmp_path / "f.txt")
    with pytest.raises(ConfigError, match="no file of hyperparameters"):
        read_values(tmp_path / "none.txt")
