"""A job's network: built for its data, in the precision it is trained or exported in."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from pipeline.dataset import DataInfo
from trainer import flops, head, precision, transfer, zoo
from trainer.config import ModelConfig
from trainer.objective import MAIN
from trainer.zoo.architecture import Published

IMAGENET = "imagenet"  # in place of a file: the weights that Keras publishes
OUTPUT = "logits"
DENSE = (25088, 4096)  # of VGG's first dense layer at 224x224 pixels
Warn = Callable[[str], None]
log = logging.getLogger(__name__)


def build(config: ModelConfig, info: DataInfo, policy: str = "float32") -> keras.Model:
    """Build the architecture for the shape and classes of the data, under a Keras dtype policy."""
    with precision.policy(policy):
        return zoo.build(
            config.name, **_shape(info), num_classes=info.num_classes, **config.options
        )


def estimate_cost(config: ModelConfig, info: DataInfo) -> flops.Cost:
    """Count what the network costs for one example, without making a weight."""
    options = {name: value for name, value in config.options.items() if name != "weights"}
    bare = _with_options(config, options)
    return flops.estimate(lambda: build(bare, info))


def start(
    config: ModelConfig, info: DataInfo, policy: str = "float32", warn: Warn = log.warning
) -> keras.Model:
    """Build the network with the weights that training starts from.

    `warn` is told where these may not be the ones that were meant. Raises ValueError when the
    weights are missing or fit no layer.
    """
    published = zoo.find(config.name).published
    if config.weights == IMAGENET and published is None:
        _check_imagenet(config)
        with _fetching():
            options = {**config.options, "weights": IMAGENET}
            return build(_with_options(config, options), info, policy)
    network = build(config, info, policy)
    if config.weights is None:
        return network
    if config.weights == IMAGENET and published is not None:
        loaded = _load_published(network, published)
    else:
        loaded = head.start_from(network, Path(config.weights), info.class_names, warn)
    log.info("weights: %d layers from %s", len(loaded.taken), config.weights)
    if loaded.left:
        log.info("weights: %s start anew", ", ".join(loaded.left))
    if loaded.doubt:
        warn(f"model.weights: {loaded.doubt}")
    return network


def check_fits(config: ModelConfig, info: DataInfo) -> None:
    """Raise ValueError when the model takes another kind of input or larger images."""
    settings = zoo.MODELS[config.name]
    kind = "image" if info.is_image else "features"
    if settings.takes != kind:
        raise ValueError(
            f"model.name {config.name!r} takes {settings.takes}; {info.source} gives {kind} of "
            f"shape {info.shape}. Allowed here: "
            f"{', '.join(name for name, entry in zoo.MODELS.items() if entry.takes == kind)}"
        )
    smallest = settings.min_image_size or 1
    if info.is_image and min(info.shape[:2]) < smallest:
        raise ValueError(
            f"data.image_size {list(info.shape[:2])} is too small for {config.name}: "
            f"its smallest image is {smallest}x{smallest}"
        )


def in_float32(network: keras.Model, config: ModelConfig, info: DataInfo) -> keras.Model:
    """Build the same network anew for float32 compute, with the trained weights of `network`.

    Auxiliary classifiers served training; the result has the main output alone.
    """
    random = {name: value for name, value in config.options.items() if name != "weights"}
    twin = build(_with_options(config, random), info)
    twin.set_weights(network.get_weights())
    if isinstance(twin.output, dict):
        return keras.Model(twin.input, twin.output[MAIN], name=twin.name)
    return twin


def _check_imagenet(config: ModelConfig) -> None:
    if "weights" not in zoo.find(config.name).options.model_fields:
        own = [name for name, entry in zoo.MODELS.items() if entry.published is not None]
        raise ValueError(
            f'weights = "imagenet": nobody publishes such weights for {config.name}. They are '
            f"there for {', '.join(own)} and every applications/NAME; else give a run or a file"
        )


@contextmanager
def _fetching() -> Iterator[None]:
    """Let a want of network be an error that says what it was wanted for."""
    try:
        yield
    except Exception as problem:  # Keras raises no narrower one
        if "URL fetch failure" not in str(problem):
            raise
        raise ValueError(
            f'weights = "imagenet" cannot be fetched: {str(problem).splitlines()[0]}. Keras takes '
            "them from .keras/models in the home directory, where a machine with a network has "
            "kept them; or give a run or a file"
        ) from None


def _load_published(network: keras.Model, builder: Published) -> transfer.Loaded:
    """Start from ImageNet's weights, which Keras fetches, or takes from where it has kept them.

    The dense layers are half a gigabyte: without a place for the first of them the trunk will do.
    """
    kernels = [layer.kernel.shape for layer in network.layers if layer.name == "fc1"]
    with _fetching():
        trained = builder(weights=IMAGENET, include_top=DENSE in map(tuple, kernels))
    loaded = transfer.copy_layers(network, trained, "ImageNet's weights of Keras")
    if OUTPUT not in loaded.taken:
        return loaded
    order = (
        "the rows of ImageNet's output layer are taken in their order for the classes of the data"
    )
    return replace(loaded, doubt=order)


def _with_options(config: ModelConfig, options: dict[str, Any]) -> ModelConfig:
    return config.model_copy(update={"options": options})


def _shape(info: DataInfo) -> dict[str, Any]:
    if info.is_image:
        height, width, channels = info.shape
        return {"image_size": (height, width), "channels": channels}
    return {"features": info.shape[0]}
