import csv
import io

import numpy as np
import pytest

from tests.support.search import config
from tuning import figures, report
from tuning.importance import importances
from tuning.trial import Trial, best_first


def trial(number, score, **values):
    state = "FAILED" if score is None else "COMPLETED"
    reason = "the loss became <nan>" if score is None else None
    return Trial(f"{number:02}", state, values, score, 2.0, reason)


@pytest.fixture
def trials():
    """The learning rate decides; the optimizer and the batch do not."""
    made = [
        trial(n, 1 - abs(n - 6) / 10, rate=10 ** (-n / 3), optimizer="ab"[n % 2], batch=32)
        for n in range(12)
    ]
    return best_first([*made, trial(12, None, rate=1.0, optimizer="a")], lowest_is_best=False)


def test_the_leaderboard_has_a_column_for_every_dimension(trials):
    lines = list(csv.DictReader(io.StringIO(report.leaderboard(trials))))
    assert [line["trial"] for line in lines] == [t.id for t in trials]
    assert float(lines[0]["score"]) == trials[0].score
    assert lines[0]["rate"] == str(trials[0].values["rate"])
    assert (lines[-1]["state"], lines[-1]["batch"]) == ("FAILED", "")
    assert lines[-1]["reason"] == "the loss became <nan>"


def test_what_decides_the_score_is_found(trials):
    found = importances([t for t in trials if t.score is not None], ["batch", "optimizer", "rate"])
    assert next(iter(found)) == "rate"
    assert found["rate"] > 0.8
    assert found["batch"] == 0
    assert sum(found.values()) == pytest.approx(1)


def test_equal_scores_give_no_importance():
    equal = [trial(n, 0.5, rate=float(n)) for n in range(8)]
    assert importances(equal, ["rate"]) == {"rate": 0.0}


def test_every_trial_is_a_line_through_its_values(trials):
    completed = [t for t in trials if t.score is not None]
    figure = figures.parallel_coordinates(completed, ["optimizer", "rate"], "val_accuracy")
    axes = figure.axes[0]
    lines = [np.asarray(line.get_data()) for line in axes.lines]
    lines = [line for line in lines if line.shape == (2, 3)]
    assert len(lines) == 12
    assert max(y[-1] for _, y in lines) == 1.0
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "optimizer",
        "rate",
        "val_accuracy",
    ]


def test_the_page_shows_pictures_and_names_failures(trials):
    page = report.render("digits", trials, config())
    assert page.count('<img class="chart"') == 2
    assert "12 of 13 trials completed" in page
    assert "the loss became &lt;nan&gt;" in page


def test_of_many_dimensions_those_that_mattered_most_are_drawn():
    idle = {f"model.options.idle{number}": 1 for number in range(8)}
    many = [trial(n, 1 - n / 10, **{**idle, "train.rate": 10.0**-n}) for n in range(8)]
    page = report.render("digits", many, config())
    assert f"The {report.MOST_AXES} that mattered most are drawn" in page
    assert page.count("<th>idle") == 8


def test_names_are_short_where_they_stay_apart():
    assert figures.short_names(["train.epochs", "model.name"]) == ["epochs", "name"]
    alike = ["train.schedule.name", "model.name"]
    assert figures.short_names(alike) == alike


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_trials_make_a_page_too(trials, count):
    page = report.render("digits", trials[:count], config())
    assert f"{count} of {count} trials completed" in page
