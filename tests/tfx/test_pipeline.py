"""The job of the digits as a TFX pipeline, from its source to a version that answers over gRPC."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from jobs.embedded import embedded_server
from serving.client import Client
from serving.store import Store

pytestmark = [pytest.mark.full, pytest.mark.timeout(2400)]

DIGITS = "/src/configs/digits.toml"
RATE = 'tune.space."train.learning_rate".choice'
SEARCH = f"--set tune.enabled=true --set tune.max_trials=2 --set '{RATE}=[1e-3, 1e-2]'"
STEPS = {
    "SourceExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Tuner",
    "Trainer",
    "latest_blessed_model",
    "Evaluator",
    "StorePusher",
}
AHEAD = STEPS - {"latest_blessed_model", "Evaluator", "StorePusher"}  # of any verdict
WORSE = "--set train.epochs=1 --set bless.min_accuracy=0 --set bless.min_class_recall=0"


@pytest.fixture(scope="module")
def place(debian) -> Path:
    return debian.directory("digits")


@pytest.fixture(scope="module")
def first(debian, place) -> dict[str, Any]:
    """A run that searches, trains, judges and publishes."""
    return debian.convoy(f"tfx run {DIGITS} {SEARCH}", f"/work/{place.name}")


def states(record: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in record["steps"]}


def made(record: dict[str, Any], kind: str) -> dict[str, Any]:
    found = [a for step in record["steps"] for a in step["artifacts"] if a["type"] == kind]
    return found[0]


def test_a_job_runs_from_end_to_end(first, place):
    assert first["status"] == "published"
    assert first["blessed"]
    assert states(first) == dict.fromkeys(STEPS, "COMPLETE")
    assert first["metrics"]["accuracy"] >= 0.97
    store = Store(place / "models")
    assert store.live("digits") == first["version"]
    store.verify("digits", first["version"])
    best = json.loads(
        (place / made(first, "HyperParameters")["uri"] / "best_hyperparameters.txt").read_text()
    )
    card = store.card("digits", first["version"])
    assert card["train"]["learning_rate"] == best["values"]["train.learning_rate"]
    assert card["data"]["counts"] == {"train": 1296, "validation": 141}  # as convoy run trains


def test_the_published_version_answers_over_grpc(first, place):
    digits = load_digits()
    images = (digits.images[:50, :, :, None] / 16 * 255).astype(np.uint8)
    images = images.repeat(4, axis=1).repeat(4, axis=2)
    with embedded_server(str(place / "models")) as address, Client(address) as client:
        answers = client.predict(list(images), model="digits")
    assert {answer.version for answer in answers} == {first["version"]}
    hits = [int(a.label) == truth for a, truth in zip(answers, digits.target[:50], strict=True)]
    assert np.mean(hits) > 0.9


def test_unchanged_data_are_not_read_searched_or_trained_again(debian, first, place):
    second = debian.convoy(f"tfx run {DIGITS} {SEARCH}", f"/work/{place.name}")
    assert second["status"] == "unchanged"
    assert {name: states(second)[name] for name in AHEAD} == dict.fromkeys(AHEAD, "CACHED")
    assert Store(place / "models").versions("digits") == [first["version"]]
    third = debian.convoy(f"tfx run {DIGITS} {SEARCH}", f"/work/{place.name}")
    assert third["status"] == "unchanged"
    assert set(states(third).values()) - {"CACHED"} == {"COMPLETE"}  # the resolver's


def test_a_worse_model_is_not_blessed_and_not_pushed(debian, first, place):
    done = debian.convoy(f"tfx run {DIGITS} {WORSE}", f"/work/{place.name}", code=3)
    assert done["status"] == "not_blessed"
    assert any("mcnemar_p" in reason for reason in done["reasons"])
    assert (place / made(done, "ModelBlessing")["uri"] / "NOT_BLESSED").exists()
    assert Store(place / "models").versions("digits") == [first["version"]]


def test_a_run_is_read_back_from_the_metadata(debian, first, place):
    shown = debian.convoy(f"tfx show {first['run']}", f"/work/{place.name}")
    assert shown == first
    unknown = debian.execute("convoy tfx show nowhere", f"/work/{place.name}")
    assert unknown.returncode == 2
    assert first["run"] in unknown.stderr


def test_it_comes_to_the_accuracy_of_convoy_run(debian):
    place = debian.directory("both")
    ours = debian.convoy(f"run {DIGITS}", f"/work/{place.name}")
    theirs = debian.convoy(f"tfx run {DIGITS} --set publish.store=others", f"/work/{place.name}")
    assert abs(ours["metrics"]["accuracy"] - theirs["metrics"]["accuracy"]) <= 0.005
    print(f"convoy run: {ours['metrics']['accuracy']:.4f}, {sum(ours['seconds'].values()):.0f} s")
    print(f"convoy tfx run: {theirs['metrics']['accuracy']:.4f}, {theirs['seconds']:.0f} s")


def test_hyperband_searches_in_the_tuner(debian):
    place = debian.directory("hyperband")
    hyperband = (
        "--set tune.algorithm=hyperband --set tune.hyperband.max_epochs=3 --set train.epochs=3 "
        "--set tune.max_trials=4 --set bless.min_accuracy=0 --set bless.min_class_recall=0"
    )
    done = debian.convoy(f"tfx run {DIGITS} {SEARCH} {hyperband}", f"/work/{place.name}")
    assert done["status"] == "published"
    best = place / made(done, "HyperParameters")["uri"] / "best_hyperparameters.txt"
    assert set(json.loads(best.read_text())["values"]) == {"train.learning_rate"}


def test_vectors_go_the_same_way(debian):
    place = debian.directory("iris")
    done = debian.convoy("tfx run /src/configs/iris.toml", f"/work/{place.name}")
    assert done["status"] == "published"
    assert Store(place / "models").live("iris") == done["version"]


CHECK = """
import json, sys
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec import pipeline_spec_pb2 as spec_pb2
tree = json.load(open(sys.argv[1]))
if "pipelineSpec" in tree:
    ParseDict(tree, spec_pb2.PipelineJob())
    tree = tree["pipelineSpec"]
spec = ParseDict(tree, spec_pb2.PipelineSpec())
config = ParseDict(tree["deploymentSpec"], spec_pb2.PipelineDeploymentConfig())
found = {
    name: [executor.container.image, executor.container.resources.cpu_limit,
           executor.container.resources.memory_limit, " ".join(executor.container.args)]
    for name, executor in config.executors.items() if executor.HasField("container")
}
print(json.dumps({"tasks": sorted(spec.root.dag.tasks), "containers": found}))
"""


@pytest.mark.parametrize("runner", ["kubeflow", "vertex"])
def test_a_cluster_gets_a_valid_pipeline_with_every_component(debian, runner):
    place = debian.directory(f"compiled-{runner}")
    (place / "check.py").write_text(CHECK)
    more = (
        "--set tfx.image=registry/convoy-tfx:1 --set tfx.root=gs://bucket/pipelines "
        "--set tfx.resources.Trainer.cpus=8 --set tfx.resources.Trainer.memory_gb=32 "
        "--set 'tfx.beam_args=[\"--runner=FlinkRunner\"]'"
    )
    debian.convoy(
        f"tfx compile {DIGITS} {SEARCH} {more} --runner {runner} --out p.json",
        f"/work/{place.name}",
    )
    found = json.loads(debian.must("python3 check.py p.json", f"/work/{place.name}"))
    named = {task.removesuffix("-model-resolver") for task in found["tasks"]}
    assert named >= STEPS
    assert {container[0] for container in found["containers"].values()} == {"registry/convoy-tfx:1"}
    trainers = [c for name, c in found["containers"].items() if name.startswith("Trainer")]
    assert trainers[0][1:3] == [8, 32]
    readers = [c for name, c in found["containers"].items() if name.startswith("SourceExample")]
    assert "--runner=FlinkRunner" in readers[0][3]
