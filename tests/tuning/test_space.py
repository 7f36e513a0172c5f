from typing import Any

import pytest
from pydantic import ValidationError

from trainer.fields import apply
from tuning.config import TuneConfig
from tuning.space import contexts, declare, is_member, own_values

SPACE = {
    "model.name": {"choice": ["lenet5", "resnet18"]},
    "model.options.activation": {
        "choice": ["relu", "tanh"],
        "when": {"model.name": ["lenet5"]},
    },
    "train.learning_rate": {"float": [1e-4, 1e-1], "sampling": "log"},
    "train.batch_size": {"int": [16, 256], "step": 2, "sampling": "log"},
    "data.augment.horizontal_flip": {"bool": True},
}
TREE: dict[str, Any] = {
    "model": {"name": "lenet5", "options": {"activation": "relu", "batch_norm": True}},
    "train": {"learning_rate": 1e-3, "batch_size": 32},
    "data": {"augment": {"horizontal_flip": False}},
}


def space(**extra):
    return TuneConfig.model_validate({"space": {**SPACE, **extra}}).space


def test_the_whole_space_is_declared_with_its_conditions_and_own_values_as_defaults():
    declared = declare(space(), own_values(TREE, space()))
    assert {hp.name for hp in declared.space} == set(SPACE)
    activation = next(hp for hp in declared.space if hp.name == "model.options.activation")
    assert [(c.name, c.values) for c in activation.conditions] == [("model.name", ["lenet5"])]
    defaults = {hp.name: hp.default for hp in declared.space}
    assert defaults["train.learning_rate"] == 1e-3
    assert defaults["train.batch_size"] == 32


def test_a_parent_that_is_written_later_is_declared_first():
    backwards = dict(reversed(SPACE.items()))
    names = [hp.name for hp in declare(TuneConfig.model_validate({"space": backwards}).space).space]
    assert names.index("model.name") < names.index("model.options.activation")


def test_draws_have_only_the_values_that_matter():
    declared = declare(space())
    seen = set()
    for seed in range(30):
        drawn = declared.copy()
        drawn.values = {}
        for hp in declared.space:
            if drawn.is_active(hp):
                drawn.values[hp.name] = hp.random_sample(seed)
        seen.add((drawn.values["model.name"], "model.options.activation" in drawn.values))
    assert seen == {("lenet5", True), ("resnet18", False)}


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("train.batch_size", [16, 32, 64, 128, 256]),
        ("data.augment.horizontal_flip", [True, False]),
        ("train.learning_rate", []),
    ],
)
def test_a_dimension_knows_its_members_and_kerastuner_draws_the_same(path, members):
    assert space()[path].members() == members
    [declared] = [hp for hp in declare(space()).space if hp.name == path]
    if members:
        assert set(declared.values) == set(members)


def test_values_of_another_architecture_leave_the_own_options_behind():
    changed = apply(TREE, {"model.name": "resnet18", "train.batch_size": 16})
    assert changed["model"] == {"name": "resnet18"}
    assert changed["train"] == {"learning_rate": 1e-3, "batch_size": 16}
    assert TREE["model"]["options"]["batch_norm"] is True  # the job itself is left alone


def test_values_of_the_own_architecture_keep_the_own_options():
    changed = apply(TREE, {"model.name": "lenet5", "model.options.activation": "tanh"})
    assert changed["model"]["options"] == {"activation": "tanh", "batch_norm": True}


def test_own_values_are_those_that_matter_and_can_be_outside_the_space():
    own = own_values(TREE, space())
    assert own["model.options.activation"] == "relu"
    assert is_member(space(), own, exact=False)
    assert not is_member(space(), {**own, "train.batch_size": 24}, exact=True)
    assert is_member(space(), {**own, "train.batch_size": 24}, exact=False)
    assert not is_member(space(), {**own, "model.name": "vgg11"}, exact=False)
    other = own_values({**TREE, "model": {"name": "resnet18"}}, space())
    assert "model.options.activation" not in other


def test_an_option_without_a_parent_matters_under_every_architecture():
    free = space(**{"model.options.dropout": {"float": [0, 0.5]}})
    names = [context["model.name"] for context in contexts(free, "model.options.dropout")]
    assert names == ["lenet5", "resnet18"]
    assert list(contexts(free, "train.batch_size")) == [{}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ({"int": [5, 1]}, "lowest value must be below the highest"),
        ({"float": [0, 1], "sampling": "log"}, "log sampling needs a lowest value above 0"),
        ({"int": [1, 8], "sampling": "log", "step": 1}, "step is a factor above 1"),
        ({"choice": []}, "at least 1 item"),
        ({"choice": ["a", 1]}, "must have one type"),
        ({"between": [1, 2]}, "expected {choice"),
        ({"bool": False}, "Input should be True"),
        ({"int": [1, 2], "when": {"model.nam": ["x"]}}, "depends on 'model.nam', which is not in"),
        ({"int": [1, 2], "when": {"model.name": ["vgg"]}}, "being 'vgg', which it never is"),
    ],
)
def test_wrong_dimensions_are_refused(text, message):
    with pytest.raises(ValidationError, match=message):
        space(**{"train.epochs": text})


def test_a_circle_of_conditions_is_refused():
    circle = {
        "a": {"choice": ["x"], "when": {"b": ["y"]}},
        "b": {"choice": ["y"], "when": {"a": ["x"]}},
    }
    with pytest.raises(ValidationError, match="in a circle: a, b"):
        TuneConfig.model_validate({"space": circle})


@pytest.mark.parametrize(
    ("objective", "lowest"),
    [("val_accuracy", False), ("val_loss", True), ("val_macro_f1", False), ("val_brier", True)],
)
def test_the_direction_is_known_by_name(objective, lowest):
    assert TuneConfig(objective=objective).lowest_is_best is lowest


def test_an_objective_of_unknown_direction_must_say_it():
    with pytest.raises(ValidationError, match='set direction = "min" or "max"'):
        TuneConfig(objective="val_wonder")
    assert TuneConfig(objective="val_wonder", direction="min").lowest_is_best
