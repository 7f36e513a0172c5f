import json

import pytest
import tensorflow as tf
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from jobs.trial import Place, outcome_of, run_trial, write_hparams
from tuning.trial import Assignment, Outcome

GIVEN = Assignment("07", {"train.batch_size": 16})


def exhausted(message: str) -> Exception:
    return tf.errors.ResourceExhaustedError(None, None, message)


def test_a_trial_s_files_belong_to_one_process_at_a_time(tmp_path):
    place = Place(tmp_path, "07")
    with place.alone() as first:
        with place.alone(seconds=0.3) as second:
            assert (first, second) == (True, False)
        with Place(tmp_path, "08").alone() as other:
            assert other
    with place.alone() as third:
        assert third


def test_what_another_process_has_finished_meanwhile_is_taken_over(tmp_path):
    place = Place(tmp_path, "07")
    place.path.mkdir(parents=True)
    place.keep(GIVEN, Outcome("scored", 0.75, 3))
    assert run_trial(GIVEN, place, lambda **news: None) == Outcome("scored", 0.75, 3)


def test_a_trial_goes_on_from_its_parent_s_state(tmp_path):
    parent = tmp_path / "trials" / "03" / "training"
    parent.mkdir(parents=True)
    (parent / "state").write_text("of epoch 4")
    place = Place(tmp_path, "07")
    place.path.mkdir()
    place.prepare(Assignment("07", {}, epochs=9, parent="03"))
    assert (place.path / "training" / "state").read_text() == "of epoch 4"


def test_a_parent_trained_on_another_host_leaves_all_epochs_to_train(tmp_path, caplog):
    place = Place(tmp_path, "07")
    place.path.mkdir(parents=True)
    place.prepare(Assignment("07", {}, epochs=9, parent="03"))
    assert list((place.path / "training").iterdir()) == []
    assert "no state in" in caplog.text


def test_the_outcome_of_another_assignment_is_not_taken_over(tmp_path):
    place = Place(tmp_path, "07")
    place.path.mkdir(parents=True)
    place.keep(GIVEN, Outcome("scored", 0.75, 3))
    assert place.finished(Assignment("07", {"train.batch_size": 32})) is None
    stored = json.loads((place.path / "result.json").read_text())
    assert stored["assignment"]["values"] == {"train.batch_size": 16}


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (
            OSError(28, "No space left on device", "a/b"),
            ("no_room", "a/b: No space left on device"),
        ),
        (exhausted("a/b; No space left on device"), ("no_room", "a/b: No space left on device")),
        (OSError(116, "Stale file handle", "a/b"), ("killed", "a/b: Stale file handle")),
        (exhausted("OOM when allocating"), ("memory", "out of memory: OOM when allocating")),
        (MemoryError(), ("memory", "out of memory: MemoryError")),
        (ValueError("two classes"), ("raised", "two classes")),
        (KeyError("a"), ("raised", "KeyError: 'a'")),
    ],
)
def test_a_full_disk_is_no_full_memory(problem, outcome):
    found = outcome_of(problem, "07")
    assert (found.ending, found.reason) == outcome


def test_values_of_every_kind_are_shown_by_tensorboard(tmp_path):
    values = {"units": [50], "rate": 0.1, "norm": True, "schedule": None, "activation": "relu"}
    write_hparams(tmp_path, values, "val_accuracy", 0.75)
    (path,) = (tmp_path / "hparams").iterdir()
    written = {
        value.tag: value
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    start = written["_hparams_/session_start_info"].metadata.plugin_data.content
    shown = HParamsPluginData.FromString(start).session_start_info.hparams
    assert {name: shown[name].string_value for name in ("units", "schedule", "activation")} == {
        "units": "[50]",
        "schedule": "unset",
        "activation": "relu",
    }
    assert (shown["rate"].number_value, shown["norm"].bool_value) == (0.1, True)
    assert tf.make_ndarray(written["val_accuracy"].tensor) == 0.75
