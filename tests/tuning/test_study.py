import json
from collections.abc import Callable
from functools import cache

import pytest

from tests.support.search import OWN, SPACE, Rehearsal, config, peak_at_adam
from tuning.journal import DamagedJournal
from tuning.study import Study
from tuning.trial import Outcome

ALGORITHMS = ["random", "bayesian", "hyperband", "grid"]
GRID = {
    "train.learning_rate": {"choice": [1e-3, 1e-2]},
    "train.batch_size": {"choice": [16, 32]},
    "train.optimizer": {"choice": ["adam", "sgd"]},
}


def settings(algorithm, **more):
    space = GRID if algorithm == "grid" else SPACE
    if algorithm == "bayesian":  # one guess: fitting the process takes half a second
        more |= {"bayesian": {"num_initial_points": 7}, "max_trials": 8}
    return config(algorithm=algorithm, space=space, **more)


def rows(study):
    return [(t.id, t.state, t.values, t.score) for t in study.ranked()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[[str], Study]:
    """Run the search of an algorithm without interruption, once for all that compare with it."""
    return cache(lambda name: Rehearsal(tmp_path_factory.mktemp(name)).run(settings(name))[0])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("workers", [1, 3])
def test_every_algorithm_ends_by_itself_and_finds_the_best(rehearsal, algorithm, workers):
    study, pool, _ = rehearsal.run(settings(algorithm, workers=workers))
    assert study.is_over
    assert study.cut is None
    expected = {"random": 12, "bayesian": 8, "hyperband": 13 + 7 + 3, "grid": 8}
    assert len(study.trials) == len(pool.started) == expected[algorithm]
    assert all(trial.state == "COMPLETED" for trial in study.trials.values())
    assert study.best().values["train.optimizer"] == "adam"
    scores = [trial.score for trial in study.ranked()]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_trial_is_the_job_itself(rehearsal, algorithm):
    _, pool, _ = rehearsal.run(settings(algorithm), until=1)
    assert pool.started[0].values == OWN


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_own_settings_outside_the_space_are_a_trial_of_their_own(rehearsal, algorithm):
    space = {**GRID, "train.optimizer": {"choice": ["adam", "rmsprop"]}}
    study, pool, _ = rehearsal.run(config(algorithm=algorithm, space=space, max_trials=6))
    assert (pool.started[0].trial, pool.started[0].values) == ("own", OWN)
    assert len(study.trials) == 6
    drawn = {t.values["train.optimizer"] for t in study.trials.values() if t.id != "own"}
    assert drawn <= {"adam", "rmsprop"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("ended", [0, 3, 7])
def test_a_search_cut_off_is_taken_up_where_it_stood(rehearsal, whole, algorithm, ended):
    """The same trials with the same values as without the interruption, none of them twice."""
    _, first, _ = rehearsal.run(settings(algorithm), until=ended)
    study, second, _ = rehearsal.run(settings(algorithm))
    assert rows(study) == rows(whole(algorithm))
    begun = [given.trial for given in [*first.started, *second.started]]
    assert sorted(begun) == sorted(whole(algorithm).trials)


@pytest.mark.parametrize("algorithm", ["random", "hyperband"])
@pytest.mark.parametrize("seed", range(3))
def test_asking_in_vain_in_a_small_space_leaves_a_search_that_can_be_taken_up(
    rehearsal, algorithm, seed
):
    few = {path: GRID[path] for path in ("train.batch_size", "train.optimizer")}
    few["train.learning_rate"] = {"choice": [1e-4, 1e-3, 1e-2]}
    small = config(algorithm=algorithm, space=few, seed=seed, max_trials=13)
    study, running = rehearsal.study(small), []
    while not study.is_over:
        if (given := study.next()) is not None:
            running.append(given)
        elif running:
            first = running.pop(0)
            study.finish(first.trial, peak_at_adam(first))
    assert rows(rehearsal.study(small)) == rows(study)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_trials_that_ran_when_the_supervisor_died_are_handed_out_again(rehearsal, algorithm):
    study = rehearsal.study(settings(algorithm, workers=2))
    lost = [study.next(), study.next()]
    again = rehearsal.study(settings(algorithm, workers=2))
    assert [again.next(), again.next()] == lost
    third = again.next()
    assert third is None or third.trial not in {given.trial for given in lost}


def test_hyperband_continues_the_better_trials_from_their_state(rehearsal):
    study, pool, _ = rehearsal.run(settings("hyperband"))
    promoted = [given for given in pool.started if given.parent is not None]
    assert promoted
    epochs = {given.trial: given.epochs for given in pool.started}
    for given in promoted:
        assert given.epochs > epochs[given.parent]
        assert given.values == study.trials[given.parent].values
    assert not any(key.startswith("tuner/") for t in study.trials.values() for key in t.values)


def test_the_lowest_wins_where_less_is_better(rehearsal):
    study, _, _ = rehearsal.run(config(objective="val_loss"))
    scores = [trial.score for trial in study.ranked()]
    assert scores == sorted(scores)
    assert study.best().score == min(scores)


def test_the_seed_decides_the_values(tmp_path):
    drawn = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        study, _, _ = Rehearsal(tmp_path / name).run(config(seed=seed))
        drawn.append([trial.values for trial in study.trials.values()])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_best_of_the_last_search_are_tried_after_the_job_itself(rehearsal):
    warm = [{**OWN, "train.learning_rate": rate} for rate in (0.02, 0.03)]
    study = rehearsal.study(config(), warm)
    assert [study.next().values for _ in range(3)] == [OWN, *warm]


def test_a_failed_trial_is_recorded_and_the_search_goes_on(rehearsal):
    def only_adam(assignment):
        if assignment.values["train.optimizer"] == "sgd":
            return Outcome("raised", reason="sgd is not wanted here")
        return peak_at_adam(assignment)

    study, _, _ = rehearsal.run(config(max_failed=100), only_adam)
    failed = [trial for trial in study.ranked() if trial.state == "FAILED"]
    assert len(study.trials) == 12
    assert 0 < len(failed) < 12
    assert {trial.reason for trial in failed} == {"sgd is not wanted here"}
    assert study.ranked()[-1].score is None


def test_the_failure_budget_ends_the_search(rehearsal):
    study, pool, _ = rehearsal.run(
        config(max_failed=3, workers=2), lambda given: Outcome("raised", reason="no disk")
    )
    assert study.cut == "3 trials failed, as many as tune.max_failed allows"
    assert study.best() is None
    assert len(pool.started) <= 4
    assert study.is_over


def test_settings_that_make_another_search_do_not_continue_it(rehearsal):
    rehearsal.run(config(), until=3)
    with pytest.raises(DamagedJournal, match="A search keeps the settings it began with"):
        rehearsal.study(config(seed=7))


def test_minutes_count_only_while_the_search_is_open(rehearsal):
    study = rehearsal.study(config(max_minutes=10))
    lines = study.journal.path.read_text().splitlines()
    began = json.loads(lines[0])["at"]
    events = [
        {"event": "begin", "own": OWN, "warm": [], "at": began - 9000},
        {"event": "open", "at": began - 9000},
        {"event": "retry", "trial": "00", "halvings": 0, "reason": "", "at": began - 8760},
    ]
    study.journal.path.write_text("".join(json.dumps(event) + "\n" for event in events[:2]))
    assert 9.9 < rehearsal.study(config(max_minutes=10)).minutes_left() <= 10
    study.journal.path.write_text("".join(json.dumps(event) + "\n" for event in events[:2]))
    again = rehearsal.study(config(max_minutes=10))
    again.journal.events.insert(2, events[2])
    assert 5.9 < again.minutes_left() <= 6


def test_best_hyperparameters_have_kerastuners_form(rehearsal):
    import keras_tuner

    study, _, _ = rehearsal.run(settings("hyperband"))
    stored = json.loads(json.dumps(study.hyperparameters(study.best().values)))
    found = keras_tuner.HyperParameters.from_config(stored)
    assert found.values == study.best().values
    assert {hp.name for hp in found.space} == set(SPACE)
