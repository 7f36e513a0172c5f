"""Every rule of the data check, on data made to break it and on data made to pass."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from pipeline import DataConfig
from pipeline.check_config import CheckConfig
from pipeline.dataset import open_data
from pipeline.inspection import inspect
from pipeline.profile import Profile, class_shift, stability_index


def picture(seed: int, side: int = 16, brightness: int = 256) -> Image.Image:
    """A smooth picture that resembles no other seed's."""
    small = np.random.default_rng(seed).integers(0, brightness, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


class Folder:
    """A folder of images that passes every rule, to be spoilt by a test."""

    def __init__(self, root, data_dir) -> None:
        self.root, self.data_dir = root, data_dir
        for split, start, count in (("train", 0, 12), ("validation", 50, 4), ("test", 80, 4)):
            for k, label in enumerate(("cat", "dog")):
                for i in range(count):
                    self.add(f"{split}/{label}/{i}.png", picture(start + i + 100 * k))

    def add(self, name: str, image: Image.Image) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(self.root / name)

    def copy(self, source: str, target: str) -> None:
        self.add(target, Image.open(self.root / source))

    def inspect(self, previous: Profile | None = None, **check):
        config = DataConfig(
            source=f"folder:{self.root}",
            data_dir=str(self.data_dir),
            image_size=(16, 16),
            check=check,
        )
        return inspect(open_data(config), config.check, previous)

    def finding(self, name: str, previous: Profile | None = None, **check):
        findings = self.inspect(previous, **check).check.findings
        return next(finding for finding in findings if finding.name == name)


@pytest.fixture
def folder(tmp_path, data_dir) -> Folder:
    return Folder(tmp_path / "images", data_dir)


def test_sound_data_pass_every_rule(folder):
    result = folder.inspect()
    assert result.check.ok
    assert result.pictures == []
    assert [finding.name for finding in result.check.findings if not finding.ok] == []
    assert result.check.counts["train"] == {"cat": 12, "dog": 12}
    assert result.check.to_json().keys() == {"ok", "rules", "counts", "profile"}


def test_broken_files_count_against_their_limit(folder):
    (folder.root / "train/cat/broken.png").write_bytes(b"nothing")
    finding = folder.finding("undecodable")
    assert (finding.ok, finding.value) == (False, pytest.approx(1 / 41))
    assert finding.examples == ["train/cat/broken.png: no image"]
    assert folder.finding("undecodable", undecodable={"limit": 0.1}).ok


def test_a_small_class_is_refused(folder):
    for i in range(3, 12):
        (folder.root / f"train/dog/{i}.png").unlink()
    finding = folder.finding("class_size")
    assert (finding.ok, finding.value, finding.examples[0]) == (False, 3, "dog: 3")
    assert folder.finding("imbalance", imbalance={"limit": 3}).value == 4


def test_equal_pixels_in_another_format_are_duplicates(folder):
    for i in range(2):
        Image.open(folder.root / f"train/cat/{i}.png").save(folder.root / f"train/cat/copy{i}.bmp")
    finding = folder.finding("duplicates")
    assert (finding.ok, finding.value) == (False, pytest.approx(2 / 26))
    assert sorted(finding.examples)[0].count("train/cat/") == 2


def test_a_recompressed_image_is_a_near_duplicate(folder):
    for i in range(6):
        image = Image.open(folder.root / f"train/cat/{i}.png")
        image.save(folder.root / f"train/cat/near{i}.jpg", quality=92)
    strict = {"near_duplicates": {"limit": 0.05}}
    finding = folder.finding("near_duplicates", **strict)
    assert not finding.ok
    assert folder.finding("duplicates").ok  # no two have the same pixels


def test_a_test_image_that_was_trained_on_is_leakage(folder):
    folder.copy("train/dog/3.png", "test/dog/known.png")
    result = folder.inspect()
    finding = next(f for f in result.check.findings if f.name == "leakage")
    assert (finding.ok, finding.value) == (False, pytest.approx(1 / 17))
    assert finding.examples == ["train/dog/3.png = test/dog/known.png"]
    assert not result.check.ok
    assert [caption for caption, _ in result.pictures] == [
        "leakage\ntrain/dog/3.png",
        "leakage\ntest/dog/known.png",
    ]
    assert result.pictures[0][1].shape == (16, 16, 3)


def test_one_image_under_two_labels_is_a_conflict(folder):
    folder.copy("train/dog/3.png", "train/cat/also.png")
    finding = folder.finding("conflicts")
    assert not finding.ok
    [example] = finding.examples
    assert "train/dog/3.png" in example
    assert "train/cat/also.png" in example
    assert example.endswith(("(cat, dog)", "(dog, cat)"))


def test_much_too_small_images_are_told(folder):
    for path in folder.root.rglob("*.png"):
        Image.open(path).resize((3, 3)).save(path)
    finding = folder.finding("upscaling")
    assert (finding.ok, finding.value) == (False, pytest.approx(16 / 3))


def test_grey_images_in_a_colour_network_are_told(folder):
    for path in folder.root.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    assert (folder.finding("channels").ok, folder.finding("channels").value) == (False, 1.0)


def test_shifts_are_measured_against_the_last_run(folder):
    before = folder.inspect().check.profile
    same = {f.name: f for f in folder.inspect(before).check.findings}
    assert (same["class_shift"].value, same["brightness_shift"].value) == (0, 0)
    for i in range(12):
        folder.add(f"train/cat/dark{i}.png", picture(500 + i, brightness=40))
    after = {f.name: f for f in folder.inspect(before).check.findings}
    assert after["class_shift"].value > 0
    assert after["class_shift"].value == pytest.approx(
        class_shift(before, folder.inspect().check.profile)
    )
    assert not after["brightness_shift"].ok


def test_a_rule_that_is_off_is_not_measured(folder):
    names = {f.name for f in folder.inspect(leakage={"severity": "off"}).check.findings}
    assert "leakage" not in names
    assert "duplicates" in names


def test_a_warning_does_not_refuse(folder):
    folder.copy("train/dog/3.png", "test/dog/known.png")
    result = folder.inspect(leakage={"severity": "warning"})
    assert result.check.ok
    assert [finding.name for finding in result.check.broken("warning")] == ["leakage"]


def test_vectors_are_checked_too(data_dir):
    config = DataConfig(source="iris", data_dir=str(data_dir))
    result = inspect(open_data(config), config.check)
    broken = result.check.broken("error")
    assert [(f.name, f.examples) for f in broken] == [("leakage", ["101 = 142"])]
    assert "brightness_shift" not in {finding.name for finding in result.check.findings}


def test_a_limit_or_a_severity_can_be_set_alone():
    config = CheckConfig.model_validate(
        {"leakage": {"limit": 0.5}, "imbalance": {"severity": "error"}}
    )
    assert (config.leakage.limit, config.leakage.severity) == (0.5, "error")
    assert (config.imbalance.limit, config.imbalance.severity) == (20, "error")


@pytest.mark.parametrize("wrong", [{"leak": {"limit": 1}}, {"leakage": {"severity": "fatal"}}])
def test_unknown_rules_and_severities_are_refused(wrong):
    with pytest.raises(ValidationError):
        CheckConfig.model_validate(wrong)


def test_the_stability_index_is_that_of_its_formula():
    assert stability_index([0.5, 0.5], [0.5, 0.5]) == 0
    expected = 0.2 * np.log(0.7 / 0.5) + 0.2 * np.log(0.5 / 0.3)
    assert stability_index([0.7, 0.3], [0.5, 0.5]) == pytest.approx(expected)
    assert np.isfinite(stability_index([1.0, 0.0], [0.0, 1.0]))


def test_a_class_that_came_or_went_is_a_shift():
    old = Profile({"a": 0.5, "b": 0.5}, [])
    assert class_shift(old, Profile({"a": 0.5, "c": 0.5}, [])) > 1
