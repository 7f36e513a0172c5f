"""A search space as KerasTuner declares it, and a job's settings with values of it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import product
from typing import Any

import keras_tuner

from trainer.config import TrainConfig
from trainer.fields import MODEL, Tree, get
from trainer.optimizers import highest_rate
from tuning.dimensions import Choice, Dimension, Flag, FloatRange, IntRange, Value

Values = dict[str, Any]  # job field by path -> value
Space = Mapping[str, Dimension]

OPTIONS = "model.options"
RATE = "train.learning_rate"
DEFAULT_SPACE: dict[str, Dimension] = {
    RATE: FloatRange(bounds=(1e-4, 1e-2), sampling="log"),
    "train.batch_size": Choice(choice=[32, 64, 128]),
    "train.optimizer": Choice(choice=["adam", "rmsprop", "nesterov"]),
}


def declare(space: Space, own: Mapping[str, Any] | None = None) -> keras_tuner.HyperParameters:
    """Declare every dimension up front, parents before those that depend on them.

    Values first seen inside a trial would stop parallel workers. `own` are the job's present
    values: where they lie in the space they become the defaults, with which a grid begins.
    """
    declared = keras_tuner.HyperParameters()
    for path in _parents_first(space):
        with ExitStack() as scopes:
            for parent, values in _conditions(space, path).items():
                scopes.enter_context(declared.conditional_scope(parent, values))
            default = (own or {}).get(path)
            known = default if _holds(space[path], default) else None
            _declare_one(declared, path, space[path], known)
    return declared


def _declare_one(
    declared: keras_tuner.HyperParameters, path: str, dimension: Dimension, default: Any
) -> None:
    if isinstance(dimension, Flag) or set(map(type, dimension.members())) == {bool}:
        declared.Boolean(path, default=default if default is not None else False)
    elif isinstance(dimension, Choice) or dimension.step is not None:
        # KerasTuner counts the steps of a range with //, and 0.5 // 0.1 is 4: it has no 0.5 then.
        declared.Choice(path, dimension.members(), default=default)
    elif isinstance(dimension, IntRange):
        low, high = dimension.bounds
        declared.Int(path, low, high, sampling=dimension.sampling, default=default)
    else:
        low_, high_ = dimension.bounds
        declared.Float(path, low_, high_, sampling=dimension.sampling, default=default)


def contexts(space: Space, path: str) -> Iterable[Values]:
    """Give the values of other dimensions under which this one matters, each combination.

    Options belong to an architecture, so they matter under every one that the space may choose.
    """
    parents = _conditions(space, path)
    if path.startswith(f"{OPTIONS}.") and MODEL in space and MODEL not in parents:
        parents = {MODEL: space[MODEL].members(), **parents}
    for combination in product(*parents.values()):
        yield dict(zip(parents, combination, strict=True))


def corners(space: Space) -> Iterator[Values]:
    """Give values such that all of the space are allowed if these are.

    The ends of each dimension, under each combination of parents that makes it matter, beside first
    values of the others.
    """
    for path, dimension in space.items():
        for context in contexts(space, path):
            for value in dimension.ends():
                yield _complete(space, {**context, path: value})


def _complete(space: Space, values: Values) -> Values:
    """Add the first value of every other dimension that matters under these values."""
    found = dict(values)
    for path in _parents_first(space):
        matters = all(found.get(p) in allowed for p, allowed in space[path].when.items())
        if path not in found and matters:
            found[path] = space[path].ends()[0]
    return found


def own_values(tree: Tree, space: Space) -> Values:
    """Give the values that the job has now in the space; None where it leaves a field unset.

    Fields that do not matter under the job's own settings are left out. A rate that is not set is
    the optimizer's own.
    """
    found: Values = {}
    for path in _parents_first(space):
        matters = all(found.get(p) in allowed for p, allowed in space[path].when.items())
        if matters:
            found[path] = get(tree, path)
    if RATE in found and found[RATE] is None:
        found[RATE] = highest_rate(TrainConfig.model_validate(tree.get("train", {})))
    return found


def is_member(space: Space, values: Values) -> bool:
    """Tell whether the space holds these values."""
    return all(path in space and _holds(space[path], v) for path, v in values.items())


def _holds(dimension: Dimension, value: Any) -> bool:
    if isinstance(dimension, Choice | Flag) or dimension.step is not None:
        return value in dimension.members()
    numbers = int if isinstance(dimension, IntRange) else (int, float)
    return isinstance(value, numbers) and dimension.bounds[0] <= value <= dimension.bounds[1]


def _conditions(space: Space, path: str) -> dict[str, list[Value]]:
    """Give all conditions of a dimension, those of its parents first."""
    found: dict[str, list[Value]] = {}
    for parent, values in space[path].when.items():
        found |= {**_conditions(space, parent), parent: list(values)}
    return found


def _parents_first(space: Space) -> list[str]:
    order: list[str] = []

    def visit(path: str) -> None:
        for parent in space[path].when:
            visit(parent)
        if path not in order:
            order.append(path)

    for path in space:
        visit(path)
    return order
