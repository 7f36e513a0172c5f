"""Fields of a job named by their path, such as train.learning_rate, in its nested dicts."""

import copy
from collections.abc import Mapping
from typing import Any

Tree = dict[str, Any]  # a job file as nested dicts
MODEL = "model.name"


def copy_for(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """Copy a job's tree for `values`, by path, to be set in it.

    Its `model.options` belong to its own architecture: when `values` name another one they go.
    """
    copied = copy.deepcopy(tree)
    own = get(tree, MODEL)
    if values.get(MODEL, own) != own:
        copied["model"].pop("options", None)
    return copied


def apply(tree: Tree, values: Mapping[str, Any]) -> Tree:
    """Give the job's tree with fields set by path; None unsets one.

    The job's own `model.options` belong to its own architecture: under another one only those in
    `values` remain.
    """
    changed = copy_for(tree, values)
    for path, value in values.items():
        section, key = locate(changed, path)
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value
    return changed


def get(tree: Tree, path: str) -> Any:
    """Give the value of a field; None where it is not set."""
    node: Any = tree
    for part in path.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return node


def locate(tree: Tree, path: str) -> tuple[Tree, str]:
    """Give the section that a field belongs to, made if need be, and its key there."""
    *parents, leaf = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    return tree, leaf
