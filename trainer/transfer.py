"""Transfer learning: start from trained weights, freeze the trunk, thaw it from the end.

A network's trunk is its layers that give maps, its head those that give vectors. A stage is a run
of trunk layers whose maps are about equally large, as papers count them: five in most networks.
Compile a model again after `freeze` or `unfreeze`: Keras decides there what an optimizer changes.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers

MODEL_FILE = "model.keras"  # of a run
KERAS_NAMES = {"logits": "predictions"}  # what keras.applications calls the output layer
_GLOBAL = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
_SAME_STAGE = 0.75  # of the first map's side: unpadded windows trim a map, pooling halves it


@dataclass(frozen=True)
class Loaded:
    """Which layers took weights, and which that have weights found none that fit."""

    taken: tuple[str, ...]
    left: tuple[str, ...]
    doubt: str | None = None  # why what was left may not have been meant to be
    # of layers left, the source's weights where it has one of this name and of other shapes
    unfit: Mapping[str, list[np.ndarray]] = field(default_factory=dict)


def load_weights(model: keras.Model, source: Path) -> Loaded:
    """Start `model` from the weights of a trained one; layers that do not fit keep theirs.

    `source` is a run's directory, a model file (.keras), or a file of weights: .weights.h5 of
    exactly this architecture, or Keras 2's .h5, such as keras.applications publishes. Layers of
    models and of .h5 files are matched by name and shapes, so that a head for other classes is
    left as it is; where the source has no `logits`, its `predictions` are meant. Raises ValueError
    when the source is missing or fits no layer.
    """
    path = weights_file(source)
    if not path.is_file():
        raise ValueError(
            f"no weights in {source}: expected a run with {MODEL_FILE}, or a .keras, .h5 or "
            ".weights.h5 file"
        )
    if path.name.endswith(".weights.h5"):
        return _load_whole(model, path)
    if path.suffix == ".h5":
        return _copy_fitting(model, _read_h5(path), str(path))
    return copy_layers(model, keras.saving.load_model(path, compile=False), str(path))


def copy_layers(model: keras.Model, trained: keras.Model, source: str) -> Loaded:
    """Start `model` from the layers of `trained` that fit, as `load_weights` does from a file."""
    return _copy_fitting(model, _by_name(trained), source)


def weights_file(source: Path) -> Path:
    """Return the file that weights come from: of a run's directory, or itself."""
    return source / MODEL_FILE if source.is_dir() else source


def stages(model: keras.Model) -> list[list[keras.layers.Layer]]:
    """Return the trunk's layers, stage by stage, from the image on; empty without a trunk."""
    sides = _sides(model)
    firsts: list[int] = []  # side of each stage's first map
    for side in sorted(set(sides.values()) - {0}, reverse=True):
        if not firsts or side < firsts[-1] * _SAME_STAGE:
            firsts.append(side)
    found: list[list[keras.layers.Layer]] = [[] for _ in firsts]
    for layer in model.layers:
        if side := sides[layer.name]:
            found[sum(side <= first for first in firsts) - 1].append(layer)
    return [stage for stage in found if any(map(_learns, stage))]


def freeze(model: keras.Model) -> None:
    """Keep the whole trunk as it is; only the head trains.

    Frozen batch normalisation computes as in inference, with the statistics it came with.
    """
    unfreeze(model, 0)


def unfreeze(model: keras.Model, last: int, batch_norm: bool = False) -> None:
    """Let the head and the `last` stages of the trunk train, and freeze the stages before.

    Batch normalisation of the trunk stays frozen, unless `batch_norm`: its statistics, from many
    images, would be lost to those of a few small batches. Raises ValueError when the network has
    no trunk, or fewer stages.
    """
    found = stages(model)
    if not found:
        raise ValueError(f"{model.name} has no convolutional trunk to freeze")
    if not 0 <= last <= len(found):
        raise ValueError(f"trainable stages must be 0 to {len(found)} in {model.name}, not {last}")
    for position, stage in enumerate(found):
        thawed = position >= len(found) - last
        for layer in stage:
            statistics = isinstance(layer, layers.BatchNormalization)
            layer.trainable = thawed and (batch_norm or not statistics)


def _load_whole(model: keras.Model, path: Path) -> Loaded:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error below says it
            model.load_weights(path)
    except (ValueError, KeyError):
        raise ValueError(
            f"{path} holds the weights of another architecture than {model.name}, or of a head for "
            "other classes. To take the layers that fit, give the trained model as a .keras file"
        ) from None
    return Loaded(tuple(layer.name for layer in model.layers if layer.weights), ())


def _by_name(trained: keras.Model) -> dict[str, list[np.ndarray]]:
    """Return each layer's weights, those inside a model that is a layer among them."""
    found: dict[str, list[np.ndarray]] = {}
    for layer in trained.layers:
        if isinstance(layer, keras.Model):
            found |= _by_name(layer)
    return found | {layer.name: layer.get_weights() for layer in trained.layers}


def _read_h5(path: Path) -> dict[str, list[np.ndarray]]:
    """Read the weights of each layer by its name, from a file of weights or of a whole model."""
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)
            return {
                name: [np.asarray(group[name][weight]) for weight in _names(group[name], "weight")]
                for name in _names(group, "layer")
            }
    except (OSError, KeyError) as problem:
        raise ValueError(f"{path} cannot be read as Keras 2's weights: {problem}") from None


def _names(group: h5py.Group, kind: str) -> list[str]:
    """Return a group's names in their order; Keras cuts a long list into several attributes."""
    whole = f"{kind}_names"
    parts = [whole, *(f"{whole}{number}" for number in range(len(group.attrs)))]
    found = [name for part in parts for name in group.attrs.get(part, ())]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _copy_fitting(
    model: keras.Model, weights: Mapping[str, list[np.ndarray]], source: str
) -> Loaded:
    taken: dict[str, str] = {}  # a layer's name -> the one that its weights have in the source
    unfit: dict[str, list[np.ndarray]] = {}
    weighted = [layer for layer in model.layers if layer.weights]
    for layer in weighted:
        name = layer.name if layer.name in weights else KERAS_NAMES.get(layer.name, layer.name)
        if name in weights and _shapes(weights[name]) == _shapes(layer.weights):
            layer.set_weights(weights[name])
            taken[layer.name] = name
        elif name in weights:
            unfit[layer.name] = weights[name]
    if not taken:
        raise ValueError(
            f"{source} fits no layer of {model.name}: names or shapes of weights differ "
            "everywhere. Give a model of the same architecture"
        )
    left = tuple(layer.name for layer in weighted if layer.name not in taken)
    over = {name: _shapes(arrays) for name, arrays in weights.items() if name not in taken.values()}
    return Loaded(tuple(taken), left, _doubt(weighted[-1], left, over, source), unfit)


def _doubt(
    output: keras.layers.Layer,
    left: tuple[str, ...],
    over: Mapping[str, list[tuple[int, ...]]],
    source: str,
) -> str | None:
    """Say so when the output layer starts anew although weights of its shapes were there."""
    fitting = [name for name, shapes in over.items() if shapes == _shapes(output.weights)]
    if output.name not in left or not fitting:
        return None
    return (
        f"the output layer {output.name!r} starts untrained, although {source} has weights of its "
        f"shapes, in {fitting[-1]!r}: layers are matched by their names. Rename that layer to take "
        "its weights"
    )


def _shapes(weights: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in weights]


def _sides(model: keras.Model) -> dict[str, int]:
    """Return the shorter side in pixels of the maps that each layer works on, 0 in the head.

    A layer that a larger map follows is a part of that map's stage: a gate over its channels.
    """
    sides: dict[str, int] = {}
    for step in model.operations:  # layers and bare functions, from the image on
        before = _before(step)
        vector = isinstance(step, _GLOBAL) or (before and not any(sides[name] for name in before))
        sides[step.name] = 0 if vector else _side(step)
    for step in reversed(model.operations):  # and back
        for name in _before(step):
            sides[name] = max(sides[name], sides[step.name])
    return sides


def _before(step: keras.Operation) -> list[str]:
    parents = [parent for node in step._inbound_nodes for parent in node.parent_nodes]
    return [parent.operation.name for parent in parents]


def _side(step: keras.Operation) -> int:
    padding = isinstance(step, layers.ZeroPadding2D)  # not a map of its own
    shape = (step.input if padding else step.output).shape
    return min(shape[1:3]) if len(shape) == 4 else 0


def _learns(layer: keras.layers.Layer) -> bool:
    return bool(layer.weights) and not isinstance(layer, layers.Normalization)  # a fixed scaling
