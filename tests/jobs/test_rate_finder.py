"""`convoy train --find-lr` reads the job and leaves a picture, nothing else."""

import pytest

from jobs.commands.find_lr import find_lr
from jobs.config import load
from jobs.exits import CommandError
from jobs.rate_finder import find_rate
from trainer.rate_sweep import STEPS


def test_a_job_is_swept_and_only_a_picture_is_written(workplace):
    place = workplace.path
    found = find_rate(load(place / "job.toml", ["train.precision=float32"]), place / "lr.png")
    assert len(found.rates) == len(found.losses) <= STEPS
    assert found.suggestion
    assert 1e-4 < found.suggestion < 0.1  # of Adam
    assert (place / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in place.iterdir()) == ["job.toml", "lr.png"]


@pytest.mark.parametrize(("config", "resume"), [(False, False), (True, True)])
def test_a_sweep_needs_a_job_file_and_starts_anew(workplace, config, resume):
    path = workplace.path / "job.toml"
    with pytest.raises(CommandError, match="expects a job file, and starts anew"):
        find_lr(path if config else None, None, workplace.path if resume else None, json=False)
