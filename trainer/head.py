"""The output layer of a network that starts from another's weights: a row a class, by name."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from trainer.transfer import Loaded, load_weights, weights_file

DATA = "data.json"  # in a run: what its data are, class names among it
log = logging.getLogger(__name__)


def start_from(
    model: keras.Model, source: Path, names: Sequence[str], warn: Callable[[str], None]
) -> Loaded:
    """Load weights as `trainer.transfer` does, the output layers' rows by the names of classes.

    Classes that `source` does not know keep the rows that they start with. What a file was trained
    on it does not say: where its rows fit they are taken in their order, and `warn` is told. Raises
    ValueError when the source is missing or fits no layer.
    """
    fresh = {layer.name: layer.get_weights() for layer in _last_layers(model)}
    loaded = load_weights(model, source)
    there = {name: model.get_layer(name).get_weights() for name in fresh if name in loaded.taken}
    trained = class_names(source)
    if trained is None:
        if there:
            heads = ", ".join(there)
            warn(f"{source} does not say its classes; {heads} takes its rows in their order")
        return loaded
    there |= {name: weights for name, weights in loaded.unfit.items() if name in fresh}
    if trained == tuple(names) or not there:
        return loaded
    matched = [name for name, old in there.items() if _match(fresh[name], old, trained, names)]
    for name in there:
        model.get_layer(name).set_weights(fresh[name])
    anew = ", ".join(name for name in names if name not in trained)
    log.info("weights: %s by the names of classes; anew: %s", ", ".join(there), anew or "none")
    return _regrouped(loaded, set(there), set(matched))


def class_names(source: Path) -> tuple[str, ...] | None:
    """Give the classes of a run, or of the run that a file lies in; None where it lies in none."""
    record = weights_file(source).with_name(DATA)
    if not record.is_file():
        return None
    return tuple(json.loads(record.read_text(encoding="utf-8"))["class_names"])


def _match(
    fresh: list[np.ndarray], old: list[np.ndarray], trained: Sequence[str], names: Sequence[str]
) -> bool:
    """Copy the rows of classes that both know into `fresh`, and tell whether there were any."""
    pairs = [(place, trained.index(name)) for place, name in enumerate(names) if name in trained]
    like = len(fresh) == len(old) and all(
        (*new.shape[:-1], len(trained)) == was.shape and new.shape[-1] == len(names)
        for new, was in zip(fresh, old, strict=True)
    )
    for new, was in zip(fresh, old, strict=True) if like else ():
        for place, before in pairs:
            new[..., place] = was[..., before]
    return like and bool(pairs)


def _regrouped(loaded: Loaded, heads: set[str], matched: set[str]) -> Loaded:
    taken = [name for name in loaded.taken if name not in heads]
    left = [name for name in loaded.left if name not in heads]
    doubt = loaded.doubt if heads - matched else None
    return Loaded((*taken, *sorted(matched)), (*left, *sorted(heads - matched)), doubt)


def _last_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for output in model.outputs:
        step = output._keras_history.operation
        while not getattr(step, "weights", None):
            parents = [parent for node in step._inbound_nodes for parent in node.parent_nodes]
            if len(parents) != 1:
                break
            step = parents[0].operation
        else:
            yield step
