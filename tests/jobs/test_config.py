import tomllib
from pathlib import Path

import pytest

from jobs.config import load
from jobs.exits import ConfigError

MINIMAL = 'name = "m"\n[data]\nsource = "digits"\n[model]\nname = "lenet5"\n'
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.fixture
def job_file(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_job_files_load_and_begin_with_their_command(path):
    load(path)
    assert f"convoy run configs/{path.name}" in path.read_text().partition("\nname =")[0]


def test_defaults_fill_what_is_not_set(job_file):
    job = load(job_file)
    assert job.train.batch_size == 128
    assert job.publish.store == "models"


def test_a_resolved_job_loads_to_an_equal_one(job_file, tmp_path):
    job = load(
        job_file, ['tune.space."train.batch_size".choice=[8, 16]', "data.image_size=[28, 28]"]
    )
    resolved = tmp_path / "resolved.toml"
    resolved.write_text(job.to_toml())
    assert load(resolved) == job
    assert tomllib.loads(job.to_toml())["train"]["optimizer"] == "adam"


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.epochs=5", lambda job: job.train.epochs == 5),
        ("train.learning_rate=1e-2", lambda job: job.train.learning_rate == 0.01),
        ("model.name=mnist_cnn", lambda job: job.model.name == "mnist_cnn"),
        ("model.options.units=[5, 6]", lambda job: job.model.options["units"] == [5, 6]),
        ("data.image_size=[8, 9]", lambda job: job.data.image_size == (8, 9)),
        ("bless.min_accuracy = 0.5", lambda job: job.bless.min_accuracy == 0.5),
    ],
)
def test_overrides_set_one_value(job_file, override, read):
    assert read(load(job_file, [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=5", r"train\.epoch: unknown key\. Allowed here: .*epochs"),
        ("trian.epochs=5", r"trian: unknown key\. Allowed here: .*train"),
        ("train.epochs=0", r"train\.epochs: .*greater than or equal to 1; received 0"),
        ("train.epochs=many", r'train\.epochs: .*integer.*; received "many"'),
        ("train.optimizer=adm", r"train\.optimizer: .*'sgd'.*'adamw'.*; received \"adm\""),
        ("data.source=digit", r"data\.source: no such source\. Allowed: digits, iris"),
        ("data.channels=2", r"data\.channels: .*1 or 3; received 2"),
        ("name=a/b", "name: .*pattern"),
        ('tune.space."train.epochs".int=[5, 2]', r"train\.epochs.*lowest value must be below"),
        ('tune.space."train.epochs"=3', r"expected \{choice = .* received 3"),
        ("train.epochs.x=1", "train.epochs.x=1: epochs is a value, not a section"),
        ("train.epochs", "--set train.epochs: expected KEY=VALUE"),
    ],
)
def test_wrong_settings_name_the_key_what_came_and_what_is_allowed(job_file, override, message):
    base = ["train.epochs=3"] if ".x" in override else []
    with pytest.raises(ConfigError, match=message):
        load(job_file, [*base, override])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["data.augment.cval=9"], r"augment\.cval does nothing without fill_mode"),
        (["data.augment.fill_mode=wrap"], "fill_mode does nothing without a field that moves"),
        (["data.augment.zca_epsilon=0.1"], "zca_epsilon does nothing without zca_whitening"),
        (["data.augment.rand_augment_operations=3"], "does nothing without rand_augment"),
        (['data.beam_options=["--runner=X"]'], "beam_options does nothing here: Beam prepares"),
        (["data.cache=memory", "data.cache_limit_mb=1"], "cache_limit_mb does nothing here"),
        (["publish.probe_seconds=9"], r"probe_seconds does nothing here: publish\.probe names no"),
        (['publish.probe_tls={ca="a"}'], "probe_tls does nothing here"),
        (["tune.bayesian.beta=1"], "bayesian does nothing here: the algorithm is random"),
        (["tune.hyperband.factor=2"], "hyperband does nothing here: the algorithm is random"),
        (["tune.algorithm=grid", "tune.seed=1"], "seed does nothing here: grid draws nothing"),
        (["train.divergence={rollbacks=0, factor=0.5}"], "factor does nothing here: rollbacks"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(job_file, settings, reason):
    with pytest.raises(ConfigError, match=reason):
        load(job_file, settings)


def test_a_search_may_draw_what_does_nothing(job_file):
    drawn = 'tune.space."data.augment.rotation_range"={float=[0, 20], step=5}'
    load(job_file, [drawn, "data.augment.fill_mode=wrap"])


def test_every_wrong_key_gets_its_line(job_file):
    with pytest.raises(ConfigError) as caught:
        load(job_file, ["train.epochs=0", "data.seed=-1"])
    assert len(str(caught.value).splitlines()) == 2


def test_a_missing_section_is_named(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text('name = "m"\n')
    with pytest.raises(ConfigError, match="data: required and not set"):
        load(path)


def test_broken_toml_is_named_with_its_line(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text("name = \n")
    with pytest.raises(ConfigError, match="not readable TOML: .*line 1"):
        load(path)
