"""The main job from the command line, with real processes, files and signals."""

import json
import tomllib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from jobs.config import load
from jobs.demo import write_samples
from jobs.exits import ConfigError
from jobs.preparation import load_data
from pipeline import preprocess
from serving.client import Client
from tests.support.waiting import terminate_when

RUN_FILES = {
    "config.toml", "state.json", "data.json", "checkpoints", "logs", "history.csv", "input.json",
    "precision.json", "model.keras", "copies.json", "trained_on.bin",
    "evaluation.json", "blessing.json", "BLESSED", "golden.npz", "export", "card.json",
    "published.json", "report.html", "outcome.json",
}  # fmt: skip


def test_a_run_publishes_and_reports(published):
    place, outcome = published
    assert outcome["status"] == "published"
    assert outcome["blessed"] is True
    scores = {"accuracy", "loss", "top_5_accuracy", "macro_f1", "weighted_f1", "calibration_error"}
    assert outcome["metrics"].keys() == scores
    assert outcome["metrics"]["accuracy"] > 0.5
    stages = "data check train evaluate bless export verify publish report"
    assert list(outcome["seconds"]) == stages.split()
    listed = place.result("models", "list")
    assert listed == [
        {
            "name": "tiny",
            "versions": [outcome["version"]],
            "live": outcome["version"],
            "labels": {"stable": outcome["version"]},
        }
    ]


def test_a_run_leaves_everything_one_needs_to_judge_it(published):
    place, outcome = published
    run = place.path / outcome["run"]
    assert {path.name for path in run.iterdir()} == RUN_FILES
    resolved = tomllib.loads((run / "config.toml").read_text())
    assert resolved["train"]["optimizer"] == "adam"  # defaults are written out
    card = json.loads((run / "export" / "assets.extra" / "card.json").read_text())
    assert card["run"] == run.name
    assert card["data"]["counts"] == {"test": 360, "validation": 141, "train": 1296}
    assert card["metrics"]["accuracy"] == outcome["metrics"]["accuracy"]
    assert "confusion" not in card["metrics"]
    assert card["machine"]["threads"] == json.loads((run / "precision.json").read_text())["threads"]
    report = (run / "report.html").read_text()
    assert report.count("data:image/png;base64,") >= 2
    assert "http" not in report.replace("http-equiv", "")  # self-contained


def test_evaluate_repeats_the_scores_of_the_run(published):
    place, outcome = published
    result = place.result("evaluate", outcome["run"])
    assert result["accuracy"] == pytest.approx(outcome["metrics"]["accuracy"])
    assert sum(count for _, _, count in result["confusion"]) == 360


def test_a_finished_run_that_is_resumed_publishes_nothing_new(own_published):
    place, outcome = own_published
    again = place.result("run", "--resume", outcome["run"])
    assert again["version"] == outcome["version"]
    assert len(place.result("models", "list")[0]["versions"]) == 1


def test_train_publishes_nothing(workplace):
    outcome = workplace.result("train", "job.toml", "--set", "train.epochs=1")
    assert outcome["status"] == "trained"
    assert not (workplace.path / "models").exists()


@pytest.mark.slow
def test_an_interrupted_train_is_resumed_as_train_and_says_what_has_changed(workplace):
    code, seen = terminate_when(
        lambda line: line.startswith("epoch 2/60"),
        workplace.forkserver,
        *("-m", "jobs", "train", "job.toml", "--set", "train.epochs=60"),
        *("--set", "train.early_stopping_patience=60"),
        cwd=workplace.path,
    )
    assert code == 75
    assert "interrupted. Continue with: convoy train --resume runs/tiny/" in seen[-1]
    run = workplace.path / seen[-1].rpartition("--resume ")[2].strip()
    config = run / "config.toml"
    config.write_text(config.read_text().replace("epochs = 60", "epochs = 4"))
    began = json.loads((run / "precision.json").read_text())
    (run / "precision.json").write_text(json.dumps(began | {"threads": began["threads"] + 5}))
    done = workplace("train", "--resume", str(run), "--json")
    assert json.loads(done.stdout)["status"] == "trained"
    assert not (workplace.path / "models").exists()
    told = f"began with {began['threads'] + 5} threads of TensorFlow and goes on with"
    assert told in " ".join(done.stderr.split())


@pytest.mark.slow
def test_what_may_be_wrong_with_the_weights_is_told_and_in_the_report(workplace):
    image = keras.Input((16, 16, 1))
    x = keras.layers.Conv2D(6, 5, name="conv1")(image)
    x = keras.layers.Dense(84)(keras.layers.Flatten()(x))
    keras.Model(image, keras.layers.Dense(10, name="digits")(x)).save(workplace.path / "mine.keras")
    epoch = ("--set", "train.epochs=1", "--set", "model.weights=mine.keras")
    done = workplace("train", "job.toml", *epoch, "--json")
    warning = "the output layer 'logits' starts untrained, although mine.keras has weights of its"
    assert warning in " ".join(done.stderr.split())
    report = workplace.path / json.loads(done.stdout)["run"] / "report.html"
    assert "starts untrained, although mine.keras has weights of its shapes" in report.read_text()


def test_batches_that_a_training_does_not_have_cannot_be_accumulated(workplace):
    one = ("--set", "train.epochs=1", "--set", "train.accumulation_steps=1000")
    done = workplace("train", "job.toml", *one)
    assert done.returncode == 2
    assert "train.accumulation_steps is 1000, and the training has 40 steps" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_model_too_slow_and_too_large_for_the_job_is_not_published(workplace):
    limits = ("--set", "bless.max_latency_ms=0.001", "--set", "bless.max_size_mb=0.001")
    floors = ("--set", "bless.min_accuracy=0", "--set", "bless.min_class_recall=0")
    done = workplace("run", "job.toml", "--set", "train.epochs=1", *floors, *limits)
    assert done.returncode == 3
    assert "latency_ms is" in done.stderr
    assert "size_mb is" in done.stderr
    assert not list(workplace.path.glob("models/tiny/*"))


@pytest.mark.slow
def test_a_terminated_run_says_how_to_go_on_and_does(workplace):
    command = ("-m", "jobs", "run", "job.toml", "--set", "train.epochs=60")
    patient = ("--set", "train.early_stopping_patience=60")
    code, seen = terminate_when(
        lambda line: line.startswith("epoch 2/60"),
        workplace.forkserver,
        *command,
        *patient,
        cwd=workplace.path,
    )
    assert code == 75
    assert "interrupted. Continue with: convoy run --resume runs/tiny/" in seen[-1]
    run = seen[-1].rpartition("--resume ")[2].strip()
    config = workplace.path / run / "config.toml"
    config.write_text(config.read_text().replace("epochs = 60", "epochs = 4"))
    done = workplace("run", "--resume", run, "--json")
    assert json.loads(done.stdout)["status"] == "published"
    assert "epoch 1/4" not in done.stderr  # finished epochs are not trained again


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.source=folder:nowhere", "folder: nowhere is no directory"),
        ("data.source=idx:nowhere", "no train-images-idx3-ubyte or"),
        ("model.name=lenet", "unknown model 'lenet'. Did you mean"),
        ("model.options.activation=rel", "option 'activation' got 'rel'"),
        ("data.image_size=[8, 8]", r"data.image_size \[8, 8\] is too small for lenet5"),
        ("data.source=iris", "model.name 'lenet5' takes image; iris gives features"),
    ],
)
def test_data_and_model_must_fit_each_other(workplace, override, message):
    job = load(workplace.path / "job.toml", [override])
    with pytest.raises(ConfigError, match=message) as caught:
        load_data(job)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.source=nothing", "no such source. Allowed: digits, iris"),  # seen in the file
        ("data.image_size=[8, 8]", "data.image_size [8, 8] is too small"),  # seen in the data
    ],
)
def test_bad_input_ends_with_one_line_and_leaves_no_run(workplace, override, message):
    done = workplace("run", "job.toml", "--set", override)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("convoy: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
    assert not list((workplace.path / "runs").glob("*/*"))


def test_a_run_without_a_trained_model_cannot_be_evaluated(published, tmp_path):
    place, outcome = published
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in ("config.toml", "state.json"):
        (empty / name).write_bytes((place.path / outcome["run"] / name).read_bytes())
    done = place("evaluate", str(empty))
    assert done.returncode == 2
    assert f"no trained model {empty}/model.keras: continue the run with" in done.stderr


def test_one_image_gives_the_same_answer_at_every_door(published, tmp_path):
    """Keras model, SavedModel by pixels and by PNG file, and the embedded server over gRPC."""
    place, outcome = published
    pixels = np.random.default_rng(3).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    png = tmp_path / "image.png"
    Image.fromarray(pixels[..., 0]).save(png)
    run = place.path / outcome["run"]

    network = keras.models.load_model(run / "model.keras", compile=False)
    expected = network(preprocess.scale(pixels[None], "unit"), training=False).numpy()[0]
    signatures = tf.saved_model.load(str(run / "export")).signatures
    answers = {
        "pixels": signatures["serving_default"](image=tf.constant(pixels[None])),
        "file": signatures["image_bytes"](image_bytes=tf.constant([png.read_bytes()])),
    }
    with place.serving() as address, Client(address) as client:
        answers["server, pixels"] = client.infer({"image": pixels[None]}, model="tiny")
        [prediction] = client.predict([png], model="tiny", top=10)
    for door, answer in answers.items():
        assert np.abs(answer["probabilities"][0] - expected).max() < 1e-5, door
    by_class = {score.class_id: score.probability for score in prediction.top}
    assert np.abs([by_class[i] - expected[i] for i in range(10)]).max() < 1e-5
    assert prediction.label == str(expected.argmax())
    assert prediction.version == outcome["version"]


def test_predict_prints_the_contract_s_json(published, tmp_path):

    place, outcome = published
    job = load(place.path / "job.toml")
    samples = write_samples(job, tmp_path / "samples", 3)
    with place.serving() as address:
        where = ["--model", "tiny", "--address", address]
        answers = place.result("predict", str(tmp_path / "samples"), *where, "--top", "3")
        unknown = place("predict", str(samples[0]), "--model", "none", "--address", address)
    assert [answer["file"] for answer in answers] == [str(path) for path in samples]
    for answer in answers:
        assert answer.keys() >= {"label", "class_id", "probability", "top", "model", "version"}
        assert (answer["model"], answer["version"]) == ("tiny", outcome["version"])
        assert len(answer["top"]) == 3
    assert unknown.returncode == 1
    assert "none" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_nothing_but_the_json_is_printed_on_stdout(published):
    place, outcome = published
    done = place("evaluate", outcome["run"], "--json")
    assert len(done.stdout.splitlines()) == 1
    json.loads(done.stdout)
