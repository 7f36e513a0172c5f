"""`convoy tfx` where TFX is not installed, and what of a pipeline needs no TFX."""

import importlib.util
import json
from types import SimpleNamespace

import pytest

from jobs.config import parse
from jobs.exits import ConfigError
from jobs.tfx_config import TfxConfig
from jobs.tfx_pipeline.queries import Query
from jobs.tfx_pipeline.sections import check_job, for_trainer, for_tuner
from pipeline.config import DataConfig
from tests.support.tfx_component import arguments
from trainer.tfx import read_settings

TREE = {
    "name": "digits",
    "data": {
        "source": "digits",
        "image_size": [16, 16],
        "channels": 1,
        "validation_fraction": 0.2,
        "augment": {"rotation_range": 10},
    },
    "model": {"name": "lenet5", "options": {"activation": "relu"}},
    "train": {"epochs": 3, "learning_rate": 0.002},
}


def job(**sections):
    return parse({**TREE, **sections}, "test")


@pytest.mark.skipif(importlib.util.find_spec("tfx") is not None, reason="TFX is installed")
@pytest.mark.parametrize("words", [("run", "x.toml"), ("compile", "x.toml"), ("show", "x")])
def test_without_tfx_the_commands_say_in_one_line_how_to_get_it(forkserver, words):
    done = forkserver.run("-m", "jobs", "tfx", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert 'pip install ".[tfx]"' in done.stderr


def test_the_trainer_gets_the_job_without_what_ingestion_has_done(tmp_path):
    asked = job()
    files = {"train_files": ["t*"], "eval_files": ["e*"]}
    fn_args = arguments(tmp_path, custom_config=for_trainer(asked), **files)
    settings = read_settings(json_copy(fn_args))
    assert settings.data.source == "tfrecord:train=t*,eval=e*,test=e*"
    assert settings.data.augment == asked.data.augment
    assert (settings.model, settings.train) == (asked.model, asked.train)


def test_the_tuner_gets_the_search_when_it_is_enabled():
    space = {"train.learning_rate": {"choice": [1e-3, 1e-2]}}
    assert for_tuner(job(tune={"space": space})) is None
    given = for_tuner(job(tune={"space": space, "enabled": True}))
    assert given
    assert given["convoy"]["tune"]["space"]["train.learning_rate"]["choice"] == [1e-3, 1e-2]


def test_a_query_survives_as_text():
    query = Query(DataConfig(source="digits", channels=1), "validation", ("device",), "2")
    assert Query.of_text(query.to_text()) == query


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"bless": {"max_calibration_error": 0.1}}, r"bless\.max_calibration_error is set"),
        ({"evaluate": {"slices": ["label"]}}, "label is no column of metadata"),
    ],
)
def test_what_a_pipeline_does_not_do_is_said(sections, message):
    with pytest.raises(ConfigError, match=message):
        check_job(job(**sections))


def test_a_database_needs_a_user_and_keeps_its_password_elsewhere():
    assert TfxConfig(metadata="mysql://convoy@db:3306/metadata").metadata
    with pytest.raises(ValueError, match="string_pattern_mismatch|should match pattern"):
        TfxConfig(metadata="mysql://convoy:secret@db/metadata")


def json_copy(fn_args: SimpleNamespace) -> SimpleNamespace:
    """The same arguments, as TFX's metadata carry them."""
    fn_args.custom_config = json.loads(json.dumps(fn_args.custom_config))
    return fn_args
