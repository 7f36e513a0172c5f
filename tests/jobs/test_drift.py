"""Drift is told from chance, on logs of both kinds and a store on disk."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from jobs.commands.drift import drift
from jobs.drift import Served, chance, compare, psi, reference
from jobs.exits import DRIFTED, USAGE, CommandError
from serving.store import Store
from tests.support.publishing import put_in_service

app = typer.Typer()
app.command()(drift)

SHARES = np.array([0.5, 0.3, 0.2])
CARD = {
    "metrics": {
        "per_class": [
            {"label": name, "answers": count}
            for name, count in (("cat", 100), ("dog", 60), ("owl", 40))
        ],
        "calibration": {
            "bins": [
                {"low": 0.0, "high": 0.5, "count": 20},
                {"low": 0.5, "high": 0.9, "count": 60},
                {"low": 0.9, "high": 1.0, "count": 120},
            ]
        },
    }
}


def test_the_index_is_the_sum_of_its_definition():
    shares = (np.array([100.5, 60.5]) / 161, np.array([50.5, 30.5]) / 81)
    expected = sum((q - p) * np.log(q / p) for p, q in zip(*shares, strict=True))
    assert psi([100, 60, 0], [50, 30, 0]) == pytest.approx(expected)
    assert psi([100, 60], [100, 60]) == 0
    assert psi([100, 60], [60, 100]) == psi([60, 100], [100, 60]) > 0.2
    assert np.isfinite(psi([100, 0], [0, 100]))


@pytest.mark.parametrize(
    ("classes", "tested", "served"), [(3, 360, 200), (10, 360, 200), (10, 10_000, 50_000),
                                      (100, 5000, 400)]
)  # fmt: skip
def test_chance_alone_breaks_the_limit_about_once_in_a_thousand(classes, tested, served):
    random = np.random.default_rng(7)
    shares = random.dirichlet(np.full(classes, 5.0))
    alarms = 0
    for _ in range(2000):
        sides = [random.multinomial(n, shares).tolist() for n in (tested, served)]
        alarms += psi(*sides) > chance(*sides)
    assert alarms <= 20  # 2 expected by theory, and by smoothing's help rather fewer


def test_a_class_that_doubles_is_seen_through_a_thousand_classes():
    random = np.random.default_rng(7)
    shares = np.full(1000, 0.001)
    moved = shares.copy()
    moved[:100] *= 4
    drawn = (shares, moved / moved.sum())
    sides = [random.multinomial(5000, probabilities).tolist() for probabilities in drawn]
    assert psi(*sides) > max(0.2, chance(*sides))


def test_a_reference_is_what_the_test_split_was_answered():
    tested = reference(CARD)
    assert (tested.labels, tested.classes) == (["cat", "dog", "owl"], [100, 60, 40])
    assert (tested.edges, tested.confidences) == ([0.0, 0.5, 0.9, 1.0], [20, 60, 120])
    confusion = [[90, 10, 0], [10, 45, 5], [0, 5, 35]]  # in cards until the answers were counted
    older = {"metrics": CARD["metrics"] | {"confusion": confusion}}
    assert reference(older).classes == [100, 60, 40]
    for other in ({}, {"metrics": {"accuracy": 1.0}}, {"metrics": None}):
        with pytest.raises(ValueError, match="nothing to compare with"):
            reference(other)


def test_answers_fall_into_the_bins_that_the_test_split_had():
    ids = np.array([0, 0, 1, 2, 9, -1])
    confidences = np.array([0.2, 0.5, 0.50001, 0.9, 1.0, np.nan])
    classes, confidence = compare(reference(CARD), Served(1, ids, confidences), 0.2)
    assert classes.histogram.served == [2, 1, 1]  # what is no class of the model's is left out
    assert confidence.histogram.served == [2, 2, 1]
    assert confidence.histogram.bins == ["0.00-0.50", "0.50-0.90", "0.90-1.00"]


class Place:
    """A store with two versions of `pets`, the second live, and a directory of logs."""

    def __init__(self, path: Path) -> None:
        self.path, self.log = path, path / "log"
        self.log.mkdir()
        self.store = Store(path / "models")
        self.old, self.live = (self.publish(CARD) for _ in range(2))

    def publish(self, card: dict[str, Any]) -> int:
        export = self.path / "export"
        (export / "assets.extra").mkdir(parents=True, exist_ok=True)
        (export / "saved_model.pb").write_text("graph")
        (export / "assets.extra" / "card.json").write_text(json.dumps(card))
        digests = {
            name: hashlib.sha256((export / name).read_bytes()).hexdigest()
            for name in ("saved_model.pb", "assets.extra/card.json")
        }
        manifest = {"algorithm": "sha256", "files": digests}
        (export / "assets.extra" / "manifest.json").write_text(json.dumps(manifest))
        return put_in_service(self.store, "pets", export)

    def serve(
        self, shares: Any, confident: float, version: int, hours_ago: float = 0, count: int = 600
    ) -> None:
        """Log answers of such shares of the classes, and so many with a confidence above 0.9."""
        random = np.random.default_rng(count)
        moment = datetime.now(UTC) - timedelta(hours=hours_ago)
        with (self.log / "requests.jsonl").open("a") as file:
            for _ in range(count):
                high = random.random() < confident
                answers = {
                    "class_id": [int(random.choice(3, p=shares))],
                    "confidence": [0.95 if high else float(random.uniform(0.4, 0.9))],
                }
                line = {"time": moment.isoformat(), "model": "pets", "version": version}
                file.write(json.dumps(line | {"answers": answers}) + "\n")

    def __call__(self, *arguments: str) -> Any:
        base = ["pets", "--store", str(self.store.root), "--log", str(self.log)]
        return CliRunner().invoke(app, [*base, *arguments])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_same_traffic_is_no_drift(place: Place):
    place.serve(SHARES, confident=0.6, version=place.live)
    place.serve([0.0, 0.0, 1.0], confident=0.0, version=place.old)  # not the live one's
    done = place("--json")
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert (found["version"], found["requests"], found["drifted"]) == (place.live, 600, False)
    assert [(d["name"], d["ok"]) for d in found["distributions"]] == [
        ("classes", True),
        ("confidence", True),
    ]
    assert sum(found["distributions"][0]["served"]) == 600


@pytest.mark.parametrize(
    ("shares", "confident", "moved"),
    [([0.1, 0.3, 0.6], 0.6, ["classes"]), (SHARES, 0.05, ["confidence"])],
)
def test_drift_ends_with_10_and_says_what_moved(place: Place, shares, confident, moved):
    place.serve(shares, confident, place.live)
    picture = place.path / "drift.png"
    done = place("--json", "--plot", str(picture))
    assert isinstance(done.exception, CommandError)
    assert done.exception.code == DRIFTED == 10
    assert f"drifts: {moved[0]} (PSI " in str(done.exception)
    found = json.loads(done.stdout)
    assert found["drifted"] is True
    assert [d["name"] for d in found["distributions"] if not d["ok"]] == moved
    with Image.open(picture) as image:
        assert image.width > image.height > 300
    assert place("--threshold", "9").exit_code == 0


def test_a_table_names_the_bin_that_moved_most(place: Place):
    place.serve([0.3, 0.1, 0.6], 0.6, place.live)
    done = place()
    assert "600 answers to 600 requests" in done.stdout
    assert "owl: 20.0% ->" in done.stdout


def test_too_few_answers_say_nothing(place: Place):
    place.serve([0.0, 0.0, 1.0], 0.0, place.live, count=50)
    done = place()
    assert done.exit_code == 0
    assert "too few answers to tell, 50 of 200" in done.stdout
    assert json.loads(place("--json").stdout)["drifted"] is None
    assert place("--min-examples", "50").exit_code != 0


def test_only_the_last_hours_and_the_version_asked_for_are_looked_at(place: Place):
    place.serve([0.0, 0.0, 1.0], 0.0, place.live, hours_ago=30)
    place.serve(SHARES, 0.6, place.live, hours_ago=1)
    place.serve([0.0, 1.0, 0.0], 0.0, place.old)
    assert place("--hours", "24").exit_code == 0
    assert isinstance(place("--hours", "48").exception, CommandError)
    old = place("--version", str(place.old), "--json")
    assert json.loads(old.stdout)["distributions"][0]["served"] == [0, 600, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--version", "3"], "pets has no version 3"),
        (["--log", "nowhere"], "nowhere holds no request log"),
        (["--store", "nowhere"], "pets has no live version in nowhere"),
    ],
)
def test_what_cannot_be_compared_is_named(place: Place, arguments: list[str], message: str):
    place.serve(SHARES, 0.6, place.live, count=1)
    problem = place(*arguments).exception
    assert isinstance(problem, CommandError)
    assert problem.code == USAGE
    assert message in str(problem)


def test_a_model_that_was_only_imported_has_nothing_to_compare_with(place: Place):
    version = place.publish({"imported": "imagenet"})
    place.serve(SHARES, 0.6, version, count=1)
    assert f"pets version {version}: its card has no evaluation" in str(place().exception)
