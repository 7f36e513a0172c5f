"""`convoy data check`, and what a run does with data that must not be trained on."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from jobs.exits import CommandError
from jobs.images import find_images
from jobs.rundir import RunDir
from pipeline.profile import Profile

CLASSES = ("각막염", "녹내장", "정상")


def picture(label: int, number: int) -> Image.Image:
    """A bright bar at the class's own place, on a dark ground of its own."""
    pixels = np.random.default_rng(1000 * label + number).integers(0, 90, (24, 24, 3))
    pixels[:, 8 * label : 8 * label + 8] += 160
    return Image.fromarray(pixels.astype(np.uint8))


def write_zip(path, train: int = 40, test: int = 8) -> None:
    """The course's archive in small: train/ and test/, one directory for each Korean class name."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, start, count in (("train", 0, train), ("test", 500, test)):
            for label, name in enumerate(CLASSES):
                for number in range(count):
                    buffer = io.BytesIO()
                    picture(label, start + number).save(buffer, format="PNG")
                    archive.writestr(f"{split}/{name}/{number}.png", buffer.getvalue())


@pytest.mark.slow
def test_a_zip_with_korean_classes_is_trained_published_and_asked(workplace):
    write_zip(workplace.path / "eyes.zip")
    settings = ["data.source=folder:eyes.zip", "data.image_size=[24, 24]", "train.epochs=8"]
    overrides = [part for setting in settings for part in ("--set", setting)]
    outcome = workplace.result("run", "job.toml", *overrides, "--set", "bless.min_accuracy=0.9")
    picture(1, 999).save(workplace.path / "test.png")
    with workplace.serving() as address:
        [answer] = workplace.result(
            "predict", "test.png", "--model", "tiny", "--address", address, "--top", "3"
        )
    assert answer["label"] == "녹내장"
    assert answer["version"] == outcome["version"]
    assert {entry["label"] for entry in answer["top"]} == set(CLASSES)


def test_refused_data_end_the_run_with_code_4_and_say_why(workplace):
    refusing = ["--set", "data.check.class_size.limit=1000"]
    done = workplace("run", "job.toml", *refusing)
    assert done.returncode == 4
    assert "convoy: data check class_size: 1" in done.stderr
    [run] = workplace.path.glob("runs/tiny/*")
    verdict = json.loads((run / "data.json").read_text())
    assert verdict["ok"] is False
    assert not (run / "checkpoints").exists()
    assert not (workplace.path / "models").exists()


def test_data_are_measured_against_the_last_that_were_accepted(tmp_path):
    accepted, refused, current = (tmp_path / "eyes" / name for name in ("1", "2", "3"))
    for path, ok, share in ((accepted, True, 0.5), (refused, False, 0.9)):
        profile = Profile(classes={"정상": share, "녹내장": 1 - share}, brightness=[1.0])
        path.mkdir(parents=True)
        RunDir(path).write_json("data.json", {"ok": ok, "profile": profile.to_json()})
    previous = RunDir(current).last_profile()
    assert previous is not None
    assert previous.classes["정상"] == 0.5
    assert RunDir(accepted).last_profile() is None


def test_every_kind_of_image_is_found_in_a_directory(tmp_path):
    for kind in ("jpeg", "png", "bmp", "gif", "webp"):
        picture(0, 0).save(tmp_path / f"image.{kind}")
    assert len(find_images([tmp_path])) == 5
    (tmp_path / "sound.webp").write_bytes(b"RIFF\n\0\0\0WAVEfmt ")
    with pytest.raises(CommandError, match="sound.webp is no image"):
        find_images([tmp_path])


def test_files_that_predict_passes_over_are_named(tmp_path, caplog):
    (tmp_path / "below").mkdir()
    picture(0, 0).save(tmp_path / "below/image.png")
    for name in ("._image.png", ".DS_Store", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / "gone.jpg").symlink_to("/nowhere")
    assert find_images([tmp_path]) == [tmp_path / "below/image.png"]
    assert "passed over, 2 in all" in caplog.text
    assert f"a link to nowhere: 1 ({tmp_path}/gone.jpg)" in caplog.text
    assert f"*.txt: 1 ({tmp_path}/notes.txt)" in caplog.text


def test_data_check_prints_the_contract_s_json(workplace):
    result = workplace.result("data", "check", "job.toml")
    assert result["ok"] is True
    assert result["counts"]["train"]["3"] == 131
    for rule in result["rules"]:
        assert rule.keys() == {
            *("name", "severity", "ok", "value", "limit", "examples", "count", "total")
        }
    refused = workplace(
        "data", "check", "job.toml", "--json", "--set", "data.check.class_size.limit=1000"
    )
    assert refused.returncode == 4
    assert json.loads(refused.stdout)["ok"] is False


@pytest.mark.parametrize("source", ["folder:nowhere", "csv:nowhere.csv", "npz:no.npz"])
def test_a_source_that_is_not_there_ends_the_check_with_one_line(workplace, source):
    done = workplace("data", "check", "job.toml", "--set", f"data.source={source}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert source.partition(":")[2] in done.stderr
