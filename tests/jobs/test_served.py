"""Golden images, probes, rehearsals and the live model, on one published run and real servers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from jobs import golden, rehearsal
from jobs.cli import app
from jobs.config import Job
from jobs.exits import CommandError, ConfigError
from jobs.golden import LIMIT, Golden
from jobs.live import NotComparable, ask_live
from jobs.preparation import load_data, load_model
from jobs.probe import Probe
from jobs.release import Release
from jobs.release_config import ProbeTLSConfig
from jobs.rundir import RunDir
from jobs.settling import Settling
from pipeline.dataset import Splits
from serving.access import digest
from serving.client import Client
from serving.server import ModelServer
from serving.settings import Listen, of_store
from serving.store import Store
from trainer.callbacks import Hooks


@pytest.fixture(scope="module")
def run(published) -> RunDir:
    place, outcome = published
    return RunDir(place.path / outcome["run"])


@pytest.fixture(scope="module")
def job(run: RunDir) -> Job:
    return run.job()


@pytest.fixture(scope="module")
def data(job: Job) -> Splits:
    return load_data(job)


@pytest.fixture(scope="module")
def images(run: RunDir) -> Golden:
    return golden.load(run / "golden.npz")


@pytest.fixture(scope="module")
def store(published) -> Store:
    return Store(published[0].path / "models")


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    with ModelServer(of_store(store.root, Listen(port=0, rest_port=0))) as server:
        yield server.grpc_address


@pytest.fixture
def version(published) -> int:
    return published[1]["version"]


def wrong(images: Golden) -> Golden:
    """The answers of a network whose classes stand in another order."""
    return replace(images, probabilities=images.probabilities[:, ::-1])


def probe(images: Golden, version: int, seconds: float = 30, check: Any = lambda: None) -> Probe:
    return Probe("tiny", version, images, seconds, check)


def test_golden_images_are_files_and_pixels_spread_over_the_test_split(run, data, images):
    assert images.requests.keys() == {"serving_default", "image_bytes"}
    assert images.requests["serving_default"][1].shape == (32, 16, 16, 1)
    assert len(set(images.requests["image_bytes"][1])) == 32
    assert images.probabilities.shape == (32, 10)
    again = golden.choose(load_model(run), data)
    assert np.array_equal(again.probabilities, images.probabilities)


def test_a_server_of_the_model_agrees_through_every_signature(address, images, version):
    with Client(address) as client:
        assert images.gap(client, "tiny", version) < LIMIT / 10
        assert wrong(images).gap(client, "tiny", version) > 0.1
        narrow = replace(images, probabilities=images.probabilities[:, :3])
        assert narrow.gap(client, "tiny", version) == float("inf")


def test_a_server_that_serves_the_version_passes_the_probe(address, images, version):
    assert probe(images, version).ask((address,)) == []


def test_a_server_that_answers_otherwise_fails_it_at_once(address, images, version):
    (fault,) = probe(wrong(images), version, seconds=3600).ask((address,))
    assert fault.startswith(f"{address} answers otherwise than the trained network")


def test_a_version_that_is_not_served_by_the_deadline_fails_it(address, images):
    nobody = "127.0.0.1:1"
    faults = probe(images, 99, seconds=0.1).ask((address, nobody))
    assert f"{address} does not serve tiny version 99 after 0 s: " in faults[0]
    assert nobody in faults[1]


def test_a_server_says_which_versions_it_has_before_a_label_moves(address, version):
    settling = Settling((address,), settle_seconds=0, load_seconds=0)
    assert settling.wait({"tiny": {version}}) == []
    refused, unknown = settling.ask({"tiny": {version, 99}, "other": {1}})
    assert (refused.version, refused.reached, refused.heard) == (99, True, False)
    assert str(unknown).startswith(f"{address} does not serve other version 1: Could not find")
    repaired = settling.wait({"tiny": {99}})  # it refuses the file: no use in waiting longer
    assert [lack.version for lack in repaired] == [99]


def test_waiting_for_a_server_can_be_given_up(images):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe(images, 99, seconds=3600, check=stop).ask(("127.0.0.1:1",))


def test_an_export_that_answers_otherwise_is_not_verified(run, images, tmp_path):
    with pytest.raises(rehearsal.VerifyFailed, match="does not answer like the trained network"):
        rehearsal.verify(run / "export", wrong(images), tmp_path / "place")


def test_the_live_model_answers_the_test_split_as_it_did_when_it_was_trained(
    published, store, data, version
):
    live = ask_live(store, "tiny", data)
    names = np.array(data.info.class_names)
    labels = np.concatenate([labels.numpy() for _, labels in data.test])
    assert live
    assert (live.version, live.class_names) == (version, data.info.class_names)
    accuracy = (live.guesses == names[labels]).mean()
    assert accuracy == pytest.approx(published[1]["metrics"]["accuracy"])
    assert live.seen is not None
    assert not live.seen.any()
    assert live.caveat == ""


def test_a_live_model_is_known_to_have_been_trained_on_what_is_now_the_test(store, job, data):
    """Of splits that are cut anew, a part of the test was trained on before."""
    anew = load_data(job.model_copy(update={"data": job.data.model_copy(update={"resplit": True})}))
    live = ask_live(store, "tiny", anew)
    before = set(data.source.slices["train"].contents().tolist())
    test = anew.source.slices["test"].contents().tolist()
    assert live
    assert live.seen is not None
    assert live.seen.tolist() == [content in before for content in test]
    assert 0 < live.seen.sum() < len(test)
    assert live.caveat.endswith(f"was trained on {live.seen.sum()} more, left out")


def test_a_live_model_of_another_image_size_can_be_asked(store, job, version):
    larger = job.model_copy(update={"data": job.data.model_copy(update={"image_size": (32, 32)})})
    live = ask_live(store, "tiny", load_data(larger))
    assert live
    assert len(live.guesses) == 360


def test_nothing_live_is_nothing_to_compare_with(tmp_path, data):
    assert ask_live(Store(tmp_path), "tiny", data) is None


def test_a_live_model_of_another_kind_of_input_cannot_be_compared(store, job):
    flowers = job.model_copy(
        update={
            "data": job.data.model_copy(
                update={"source": "iris", "image_size": None, "channels": 3}
            ),
            "model": job.model.model_copy(update={"name": "mlp", "options": {}}),
        }
    )
    with pytest.raises(NotComparable, match="no signature 'serving_default' that takes 'features'"):
        ask_live(store, "tiny", load_data(flowers))


def test_a_live_model_that_was_damaged_cannot_be_compared(run, data, tmp_path: Path):
    store = Store(tmp_path / "models")
    version = store.publish("tiny", run / "export")
    (store.path("tiny", version) / "saved_model.pb").write_bytes(b"")
    with pytest.raises(NotComparable, match=f"live version {version} cannot be asked"):
        ask_live(store, "tiny", data)


@pytest.fixture(scope="module")
def secured(
    store: Store, certificates: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server that asks for a certificate and a token, which our commands have."""
    tokens = tmp_path_factory.mktemp("secured") / "tokens"
    tokens.write_text(f"us {digest('s3cret')}")
    listen = Listen(port=0, rest_port=None, tls=certificates / "mutual.ssl", tokens=tokens)
    with (
        pytest.MonkeyPatch.context() as patch,
        ModelServer(of_store(store.root, listen)) as server,
    ):
        patch.setenv("CONVOY_TOKEN", "s3cret")
        yield server.grpc_address


def test_commands_speak_tls_and_say_who_they_are(secured, certificates, tmp_path):
    ca, key, certificate = (certificates / name for name in ("ca.pem", "client.key", "client.pem"))
    mutual = ["--ca", ca, "--certificate", certificate, "--key", key]
    Image.new("L", (16, 16)).save(tmp_path / "dark.png")

    def call(*arguments: Any) -> Result:
        asked = [*map(str, arguments), "--model", "tiny", "--address", secured, "--json"]
        return CliRunner().invoke(app, asked)

    [answer] = json.loads(call("predict", tmp_path / "dark.png", *mutual).stdout)
    assert answer["file"] == str(tmp_path / "dark.png")
    measured = json.loads(call("bench-serving", *mutual, "--callers", 2, "--seconds", 0.3).stdout)
    assert measured["runs"][0]["requests"] > 0
    for wrong, exception in (
        (["--key", key], CommandError),
        (["--certificate", certificate, "--key", key], CommandError),
        (["--ca", tmp_path / "none.pem"], CommandError),
    ):
        assert isinstance(call("predict", tmp_path / "dark.png", *wrong).exception, exception)


def test_a_probe_speaks_tls_and_says_who_it_is(secured, certificates, images, version, job, run):
    files = {"ca": "ca.pem", "key": "client.key", "certificate": "client.pem"}
    paths = {name: str(certificates / file) for name, file in files.items()}
    chosen = job.publish.model_copy(update={"probe_tls": ProbeTLSConfig(**paths)})
    release = Release(job.model_copy(update={"publish": chosen}), run, Hooks())
    assert replace(probe(images, version), tls=release.probe_tls()).ask((secured,)) == []
    [fault] = probe(images, version, seconds=1).ask((secured,))
    assert fault.startswith(f"{secured} does not serve tiny version {version} after 1 s")
    missing = ProbeTLSConfig(ca=str(certificates / "none.pem"))
    chosen = job.publish.model_copy(update={"probe_tls": missing})
    with pytest.raises(ConfigError, match=r"publish\.probe_tls: .*none\.pem"):
        Release(job.model_copy(update={"publish": chosen}), run, Hooks()).probe_tls()
