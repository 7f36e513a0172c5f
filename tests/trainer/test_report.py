"""The page about a run: what it tells, what it leaves out, and how a browser shows it."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline import DataConfig, load
from pipeline.dataset import Splits
from trainer import network, report
from trainer.chapters import training
from trainer.config import ModelConfig
from trainer.evaluate import Predictions, predict, score
from trainer.evaluate_config import EvaluateConfig
from trainer.page import Section
from trainer.summary import RunSummary, TrainingFacts

PHONE, DESK = 390, 1280
HEAVIEST = 2_000_000  # bytes
HISTORY = [
    {
        "epoch": float(n),
        "loss": 2 / n, "val_loss": 2.2 / n, "accuracy": 1 - 0.5 / n, "val_accuracy": 1 - 0.6 / n,
        "learning_rate": 1e-3 / n, "seconds": 1.0,
    }
    for n in range(1, 9)
]  # fmt: skip
RULES = [
    {"name": "accuracy", "value": 0.91, "limit": 0.95, "ok": False, "detail": "class '<7>'"},
    {"name": "mcnemar", "value": 0.5, "limit": 0.05, "ok": True, "detail": ""},
]
FINDINGS = [
    {
        "name": "duplicates", "severity": "warning", "ok": False, "value": 0.1, "limit": 0.05,
        "examples": ["a/very/long/directory/of/images/" + "x" * 90 + ".png = other.png"],
    }
]  # fmt: skip


@pytest.fixture(scope="module")
def augmented(data_dir: Path) -> Splits:
    """Digits that are rotated for training."""
    augment = {"rotation_range": 30, "width_shift_range": 0.2}
    config = DataConfig(
        source="digits", data_dir=str(data_dir), channels=1, image_size=(16, 16), augment=augment
    )
    return load(config, batch_size=100)


@pytest.fixture(scope="module")
def full_page(augmented: Splits) -> str:
    """A page with every section."""
    data = augmented
    model = network.build(ModelConfig(name="lenet5"), data.info)
    sites = np.array([f"a site with a long name, number {i % 4}" for i in range(360)])
    predictions = predict(model, data.test, {"site": sites})
    config = EvaluateConfig(slices=("site",))
    evaluation = score(predictions, data.info.class_names, config=config)
    summary = RunSummary(
        "a <b>run</b>", data.info, evaluation, predictions,
        status="not_blessed", rules=FINDINGS, blessing=RULES,
        offenders=[("duplicates\nfile.png", np.full((16, 16, 1), 90, np.uint8))],
        training=TrainingFacts(
            "float32: no GPU", [{"waiting_share": 0.02}], {"train": 12.0}, ["its head <is> anew"]
        ),
        card={"run": "r-1", "seeds": {"data": 0}, "git_revision": "f" * 40},
        config='name = "digits"\n' + 'key = "' + "long " * 60 + '"\n',
        more=[Section("Search", "<p>12 trials</p>", "Found by a search.")],
    )  # fmt: skip
    return report.render(summary, HISTORY, model, data)


@pytest.fixture(scope="module")
def perfect_page(digits: Splits) -> str:
    """A page about a network that is always right, of which there is nothing else to tell."""
    model = network.build(ModelConfig(name="lenet5"), digits.info)
    labels = predict(model, digits.test).labels
    predictions = Predictions(np.eye(10, dtype=np.float32)[labels], labels)
    evaluation = score(predictions, digits.info.class_names)
    summary = RunSummary("digits", digits.info, evaluation, predictions)
    return report.render(summary, HISTORY, model, digits)


def headings(page: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", page)


def test_every_part_that_there_is_something_to_tell_of_has_a_section(full_page):
    assert headings(full_page) == [
        "Blessing", "Learning curves", "Confusion matrix", "Most confident mistakes", "Classes",
        "Calibration", "Slices", "Augmentation", "Network", "Speed", "Search", "Data", "Data check",
        "Provenance",
    ]  # fmt: skip
    assert "1 of 2 rules broken" in full_page
    assert "not blessed" in full_page
    assert "float32: no GPU" in full_page
    assert "its head &lt;is&gt; anew" in full_page
    assert len(full_page.encode()) < HEAVIEST


def test_epochs_that_changed_no_weight_are_told():
    lost = [entry | {"updates": 12.0 * (entry["epoch"] > 2)} for entry in HISTORY]
    note = training.curves(lost).note
    assert note.endswith("No weight changed in epoch 1, 2: float16 overflowed in every step.")
    assert "the weights of epoch 8" in note
    assert "No weight" not in training.curves(HISTORY).note


def test_what_is_not_there_is_left_out(perfect_page):
    found = set(headings(perfect_page))
    assert not {"Blessing", "Slices", "Search", "Data check", "Augmentation"} & found
    assert "Training images" in found


def test_vectors_have_a_page_without_pictures_of_examples(iris):
    model = network.build(ModelConfig(name="mlp"), iris.info)
    predictions = predict(model, iris.test)
    evaluation = score(predictions, iris.info.class_names)
    summary = RunSummary("iris", iris.info, evaluation, predictions)
    page = report.render(summary, HISTORY, model, iris)
    assert "test example" in page
    assert "Augmentation" not in page
    assert "data:image/png" not in page


def test_names_are_text_and_nothing_is_fetched(full_page):
    assert "a &lt;b&gt;run&lt;/b&gt;" in full_page
    assert "class &#x27;&lt;7&gt;&#x27;" in full_page
    links = re.findall(r'(?:src|href)="([^"]{5})', full_page)
    assert set(links) == {"data:"}
    assert "http" not in full_page


def test_a_perfect_network_has_no_mistakes_to_show(perfect_page):
    assert "None: every answer on the test split is right." in perfect_page
    assert "99.0% to 100.0%" in perfect_page  # 0.025 ** (1 / 360): all right is no proof


@pytest.mark.slow
@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_the_page_without_scrolling_sideways(
    full_page, chromium, tmp_path, width, dark
):
    path = tmp_path / "report.html"
    path.write_text(full_page, encoding="utf-8")
    look = chromium.look(path, width, dark)
    assert look.inner_width == width
    assert look.scroll_width <= width
    assert look.errors == []
    assert len(look.images) >= 3 + 1 + 12 + 12  # curves, calibration, mistakes, augmentation
    assert all(image["width"] > 0 and image["alt"] for image in look.images)
    assert look.headings[0] == "Blessing"


@pytest.mark.slow
def test_the_browser_would_see_what_is_wrong_with_a_page(chromium, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'>"
        "<div style='width:900px'>wide</div><img src=missing.png><script>nothing()</script>"
    )
    look = chromium.look(path, PHONE)
    assert look.scroll_width == 900 + 8  # and the body's margin
    assert [image["width"] for image in look.images] == [0]
    assert any("nothing is not defined" in error for error in look.errors)
    assert any("missing.png" in error for error in look.errors)
