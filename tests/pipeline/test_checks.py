"""Every rule of the data check, on data made to break it and on data made to pass.

Reading a folder takes a second, whatever is in it. So one folder breaks several rules, each by
files of its own.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from pydantic import ValidationError

from pipeline import DataConfig, formats
from pipeline.check_config import CheckConfig
from pipeline.checks import Check, Evidence, Finding, check
from pipeline.dataset import open_data
from pipeline.inspection import Inspection, inspect, refusal
from pipeline.inventory import take_inventory
from pipeline.profile import Profile, class_shift, stability_index
from pipeline.sources.tfrecord import encode


def picture(seed: int, side: int = 16, brightness: int = 256) -> Image.Image:
    """A smooth picture that resembles no other seed's."""
    small = np.random.default_rng(seed).integers(0, brightness, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


class Folder:
    """A folder of images that passes every rule, to be spoilt by a test."""

    def __init__(self, root: Path, data_dir: Path) -> None:
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

    def config(self, **check) -> DataConfig:
        return DataConfig(
            source=f"folder:{self.root}",
            data_dir=str(self.data_dir),
            image_size=(16, 16),
            check=check,
        )

    def inspect(self, previous: Profile | None = None, **check) -> Inspection:
        config = self.config(**check)
        return inspect(open_data(config), config.check, previous)

    def evidence(self) -> Evidence:
        """What the rules look at, to apply them to it more than once."""
        data = open_data(self.config())
        inventory = take_inventory(data.slices, data.info.shape)
        return Evidence(inventory, data.info.class_names, data.info.shape, [], None, [])


def judge(evidence: Evidence, **rules) -> Check:
    return check(evidence, CheckConfig.model_validate(rules))


def named(result: Check) -> dict[str, Finding]:
    return {finding.name: finding for finding in result.findings}


@pytest.fixture
def folder(tmp_path, data_dir) -> Folder:
    return Folder(tmp_path / "images", data_dir)


@pytest.fixture(scope="module")
def sound(tmp_path_factory, data_dir) -> Evidence:
    """Data that pass every rule."""
    return Folder(tmp_path_factory.mktemp("sound"), data_dir).evidence()


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory, data_dir) -> Inspection:
    """A folder with a broken file, copies of many kinds and a strict rule about look-alikes."""
    folder = Folder(tmp_path_factory.mktemp("spoilt"), data_dir)
    (folder.root / "train/cat/broken.png").write_bytes(b"nothing")
    for i in range(2):
        folder.copy(f"train/dog/{i}.png", f"train/dog/copy{i}.bmp")
    for i in range(6):
        image = Image.open(folder.root / f"train/cat/{i}.png")
        image.save(folder.root / f"train/cat/near{i}.jpg", quality=92)
    folder.copy("train/dog/7.png", "train/cat/also.png")
    folder.copy("train/dog/8.png", "test/dog/known.png")
    return folder.inspect(near_duplicates={"limit": 0.05})


@pytest.fixture(scope="module")
def poor(tmp_path_factory, data_dir) -> Evidence:
    """A folder of small grey images, few of them dogs."""
    folder = Folder(tmp_path_factory.mktemp("poor"), data_dir)
    for i in range(3, 12):
        (folder.root / f"train/dog/{i}.png").unlink()
    for path in folder.root.rglob("*.png"):
        Image.open(path).resize((3, 3)).convert("L").save(path)
    return folder.evidence()


def test_sound_data_pass_every_rule(folder):
    result = folder.inspect()
    assert result.check.ok
    assert result.pictures == []
    assert [finding.name for finding in result.check.findings if not finding.ok] == []
    assert result.check.counts["train"] == {"cat": 12, "dog": 12}
    assert result.check.to_json().keys() == {
        *("ok", "rules", "counts", "profile", "undecodable", "passed_over")
    }


def test_spoilt_data_are_refused_for_every_rule_that_they_break(spoilt):
    assert not spoilt.check.ok
    broken = [finding.name for finding in spoilt.check.broken("error")]
    assert broken == ["undecodable", "leakage", "conflicts"]
    warned = [finding.name for finding in spoilt.check.broken("warning")]
    assert warned == ["duplicates", "near_duplicates"]


def test_broken_files_count_against_their_limit(spoilt, sound):
    finding = named(spoilt.check)["undecodable"]
    assert not finding.ok
    assert finding.value == pytest.approx(1 / 51)
    assert (finding.count, finding.total, finding.measured()) == (1, 51, "1 of 51")
    assert finding.examples == [f"train/cat/broken.png: {formats.UNKNOWN}"]
    one = replace(sound, undecodable=spoilt.check.undecodable)
    assert not named(judge(one))["undecodable"].ok
    assert named(judge(one, undecodable={"limit": 0.1}))["undecodable"].ok


def test_a_small_class_is_refused(poor):
    findings = named(judge(poor, imbalance={"limit": 3}))
    finding = findings["class_size"]
    assert (finding.ok, finding.value, finding.examples[0]) == (False, 3, "dog: 3")
    assert findings["imbalance"].value == 4


def test_equal_pixels_in_another_format_are_duplicates(spoilt):
    finding = named(spoilt.check)["duplicates"]
    assert not finding.ok
    assert finding.value == pytest.approx(3 / 33)
    assert {frozenset(example.split(" = ")) for example in finding.examples} == {
        frozenset(("train/dog/0.png", "train/dog/copy0.bmp")),
        frozenset(("train/dog/1.png", "train/dog/copy1.bmp")),
        frozenset(("train/dog/7.png", "train/cat/also.png")),
    }


def test_a_recompressed_image_is_a_near_duplicate(spoilt):
    findings = named(spoilt.check)
    assert not findings["near_duplicates"].ok
    assert all("near" in example for example in findings["near_duplicates"].examples)
    assert "near" not in str(findings["duplicates"].examples)  # no two have the same pixels


def test_a_test_image_that_was_trained_on_is_leakage(spoilt):
    finding = named(spoilt.check)["leakage"]
    assert not finding.ok
    assert finding.value == pytest.approx(1 / 17)
    assert finding.examples == ["train/dog/8.png = test/dog/known.png"]
    shown = [pair for pair in spoilt.pictures if pair[0].startswith("leakage")]
    assert [caption for caption, _ in shown] == [
        "leakage\ntrain/dog/8.png",
        "leakage\ntest/dog/known.png",
    ]
    assert shown[0][1].shape == (16, 16, 3)


def test_one_image_under_two_labels_is_a_conflict(spoilt):
    finding = named(spoilt.check)["conflicts"]
    assert not finding.ok
    [example] = finding.examples
    assert "train/dog/7.png" in example
    assert "train/cat/also.png" in example
    assert example.endswith(("(cat, dog)", "(dog, cat)"))


def test_much_too_small_images_are_told(poor):
    finding = named(judge(poor))["upscaling"]
    assert not finding.ok
    assert finding.value == pytest.approx(16 / 3)


def test_grey_images_in_a_colour_network_are_told(poor):
    finding = named(judge(poor))["channels"]
    assert (finding.ok, finding.value) == (False, 1.0)


def test_shifts_are_measured_against_the_last_run(folder, sound):
    before = judge(sound).profile
    same = named(judge(replace(sound, previous=before)))
    assert (same["class_shift"].value, same["brightness_shift"].value) == (0, 0)
    for i in range(12):
        folder.add(f"train/cat/dark{i}.png", picture(500 + i, brightness=40))
    result = folder.inspect(before).check
    after = named(result)
    assert after["class_shift"].value > 0
    assert after["class_shift"].value == pytest.approx(class_shift(before, result.profile))
    assert not after["brightness_shift"].ok


def test_a_rule_that_is_off_is_not_measured(sound):
    names = named(judge(sound, leakage={"severity": "off"}))
    assert "leakage" not in names
    assert "duplicates" in names


def test_a_warning_does_not_refuse(sound):
    one = replace(sound, undecodable=[{"key": "train/cat/broken.png", "reason": "no image"}])
    assert not judge(one).ok
    result = judge(one, undecodable={"severity": "warning"})
    assert result.ok
    assert [finding.name for finding in result.broken("warning")] == ["undecodable"]


def test_vectors_are_checked_too(data_dir):
    config = DataConfig(source="iris", data_dir=str(data_dir))
    result = inspect(open_data(config), config.check)
    broken = result.check.broken("error")
    assert [(f.name, f.examples) for f in broken] == [("leakage", ["101 = 142"])]
    assert "brightness_shift" not in {finding.name for finding in result.check.findings}


def test_a_vector_that_is_no_number_is_named_by_file_and_record(tmp_path, data_dir):
    random = np.random.default_rng(0)
    for name, place in (("a", (7, 2)), ("b", (3, 1))):
        vectors = random.normal(size=(30, 4)).astype(np.float32)
        vectors[place] = np.nan if name == "a" else np.inf
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for row, vector in enumerate(vectors):
                writer.write(encode({"features": vector}, row % 2, "xy"[row % 2], {}))
    source = f"tfrecord:train={tmp_path}/a,test={tmp_path}/b"
    config = DataConfig(source=source, data_dir=str(data_dir))
    verdict = inspect(open_data(config), config.check).check
    finding = named(verdict)["numbers"]
    assert (verdict.ok, finding.severity, finding.measured()) == (False, "error", "2 of 60")
    where = tmp_path.name
    assert sorted(finding.examples) == [
        f"{where}/a:7: value 2 is nan",
        f"{where}/b:3: value 1 is inf",
    ]


def test_what_is_passed_over_is_named(folder):
    for name in ("train/cat/notes.txt", "README.md"):
        (folder.root / name).write_text("words")
    (folder.root / "train/cat/gone.png").symlink_to("/nowhere")
    verdict = folder.inspect(passed_over={"limit": 0.01}).check
    finding = named(verdict)["passed_over"]
    assert (finding.ok, finding.severity, finding.measured()) == (False, "warning", "3 of 43")
    assert verdict.passed_over == [
        {"key": "README.md", "reason": "*.md"},
        {"key": "train/cat/gone.png", "reason": "a link to nowhere"},
        {"key": "train/cat/notes.txt", "reason": "*.txt"},
    ]


def test_rules_that_hold_show_what_they_found(sound):
    findings = named(judge(replace(sound, passed_over=[{"key": "README", "reason": "no ending"}])))
    assert findings["passed_over"].ok
    assert findings["passed_over"].examples == ["README: no ending"]
    assert findings["class_size"].examples == ["cat: 12", "dog: 12"]
    assert (findings["leakage"].measured(), findings["leakage"].examples) == ("0 of 16", [])


def test_a_refusal_ends_with_the_way_out(spoilt):
    told = refusal(spoilt.check)
    assert told.startswith(
        "data check undecodable: 1 of 51 = 0.01961, the limit is 0.01 (train/cat"
    )
    assert told.endswith(
        "or take them as they are: --set data.check.undecodable.severity=warning "
        "--set data.check.leakage.severity=warning --set data.check.conflicts.severity=warning"
    )


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
