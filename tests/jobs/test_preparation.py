"""What a job trains on, and in which precision."""

import json

import pytest

from jobs.config import Job, load
from jobs.exits import ConfigError
from jobs.preparation import PRECISION, load_data, train_network
from trainer.callbacks import Hooks


def test_a_continued_run_keeps_its_precision_whatever_this_machine_would_choose(workplace):
    job = load(workplace.path / "job.toml", ["train.epochs=1", "train.batch_size=256"])
    place = workplace.path / "run"
    place.mkdir()
    told = {"policy": "mixed_bfloat16", "reason": "chosen elsewhere"}
    (place / PRECISION).write_text(json.dumps(told))
    model, _ = train_network(job, load_data(job), place, Hooks())
    assert model.get_layer("conv1").dtype_policy.name == "mixed_bfloat16"
    assert json.loads((place / PRECISION).read_text()) == told


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"image_size": [8, 8]}, "image_size does nothing here: data: iris has vectors"),
        ({"channels": 1, "cache": "disk"}, "channels, cache do nothing here"),
        ({"check": {"upscaling": {"limit": 2}}}, "upscaling does nothing here: data.check: iris"),
    ],
)
def test_what_is_about_images_is_refused_for_vectors(data_dir, setting, reason):
    data = {"source": "iris", "data_dir": str(data_dir), **setting}
    job = Job.model_validate({"name": "m", "data": data, "model": {"name": "mlp"}})
    with pytest.raises(ConfigError, match=reason):
        load_data(job)


def test_top_k_beyond_the_classes_is_refused_where_somebody_set_it(data_dir):
    job = Job.model_validate(
        {
            "name": "m",
            "data": {"source": "iris", "data_dir": str(data_dir)},
            "model": {"name": "mlp"},
            "train": {"top_k": 3},
        }
    )
    with pytest.raises(ConfigError, match="top_k does nothing here: train: iris has no more class"):
        load_data(job)
