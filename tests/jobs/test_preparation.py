"""A job's training keeps to the precision that it began with."""

import json

from jobs.config import load
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
