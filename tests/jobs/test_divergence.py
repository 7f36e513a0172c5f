"""`convoy train` with a rate that no roll-back mends."""

from jobs.exits import FAILED

WILD = ("--set", "train.optimizer=sgd", "--set", "train.learning_rate=1e30")


def test_a_loss_that_stays_wild_ends_the_command_with_one_line(workplace):
    done = workplace("train", "job.toml", *WILD)
    assert done.returncode == FAILED
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("convoy: the loss is ")
    assert last.endswith("after 2 roll-backs to smaller rates: lower train.learning_rate")
    assert "Traceback" not in done.stderr
