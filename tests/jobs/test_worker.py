"""What a worker of a chief refuses before it runs a trial."""

import threading
from contextlib import contextmanager

import pytest

from jobs.config import load
from jobs.exits import INTERRUPTED, CommandError, ConfigError
from jobs.oracle import Post
from jobs.rundir import RunDir
from jobs.tune import open_study, resolve
from jobs.worker import work
from tests.support.search import Notes
from tuning.chief import Chief
from tuning.service import Terms, listening

SPACE = 'tune.space."train.optimizer".choice=["adam","sgd"]'


@pytest.fixture
def job(workplace):
    return resolve(load(workplace.path / "job.toml", [SPACE]))


@pytest.fixture
def chief_of(workplace, job):
    """Have a chief of the job in this process; gives where a worker of it stands."""

    @contextmanager
    def started(run_name=None):
        run = RunDir.create(workplace.path / "runs", "tiny-tune", job.to_toml())
        name = run_name or f"tiny-tune/{run.path.name}"
        terms = Terms(name, job.to_toml(), 30)
        with listening(Chief(open_study(job, run), Notes()), terms, "127.0.0.1:0") as port:
            yield Post(f"127.0.0.1:{port}", "w0")

    return started


def begin(post, workplace, job=None, runs="runs", stop=None):
    work(post, job, None, workplace.path / runs, Notes(), stop or threading.Event())


def test_a_worker_with_another_job_is_refused_with_the_sections_that_differ(
    workplace, job, chief_of
):
    other = load(workplace.path / "job.toml", [SPACE, "train.epochs=7", "model.options={}"])
    with chief_of() as post, pytest.raises(ConfigError, match=r"by model, train\. Give both"):
        begin(post, workplace, other)


@pytest.mark.parametrize("name", ["../tiny/1", "/tmp/1", "tiny", "a/b/c"])
def test_a_chief_cannot_make_a_worker_write_elsewhere(workplace, chief_of, name):
    with chief_of(name) as post, pytest.raises(ConfigError, match="expected NAME/RUN"):
        begin(post, workplace)
    assert not (workplace.path / "tiny").exists()


def test_another_search_in_the_same_place_is_not_overwritten(workplace, chief_of):
    with chief_of() as post:
        [run] = (workplace.path / "runs" / "tiny-tune").iterdir()
        changed = workplace.path / "elsewhere" / "tiny-tune" / run.name
        changed.mkdir(parents=True)
        (changed / "config.toml").write_text('name = "other"')
        with pytest.raises(ConfigError, match=r"config.toml is not the chief's\. Remove"):
            begin(post, workplace, runs="elsewhere")
    assert (changed / "config.toml").read_text() == 'name = "other"'


def test_a_worker_told_to_stop_while_it_waits_for_its_chief_exits_75(workplace, chief_of):
    with chief_of() as gone:
        pass
    stop = threading.Event()
    stop.set()
    with pytest.raises(CommandError, match="asked to stop") as caught:
        begin(gone, workplace, stop=stop)
    assert caught.value.code == INTERRUPTED
