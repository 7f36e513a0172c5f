"""Every network that keras.applications offers, as `applications/NAME`."""

import inspect
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Self

import keras
import numpy as np
from keras import layers
from pydantic import Field, model_validator

from trainer.grouped import GroupedConv2D
from trainer.zoo.architecture import Architecture, Options, Scaling, Widths
from trainer.zoo.head import classify, dropout, hidden

_IMAGENET = 1000  # classes
_POOLINGS = {
    "average": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
    "flatten": layers.Flatten,
}
_MIN_IMAGE_SIZE = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}  # Keras' own limits
_BLACK_BECOMES: dict[float, Scaling] = {0.0: "none", -1.0: "tf", -103.939: "caffe", -2.118: "torch"}


class ApplicationOptions(Options):
    """Options of every `applications/NAME`; most are about a head of one's own."""

    weights: str | None = Field(
        None, description='"imagenet", a file of weights, or unset: random initial weights'
    )
    include_top: bool = Field(
        True, description="Keras' own head; false: pooling, classifier and dropout below"
    )
    pooling: Literal["average", "max", "flatten"] = Field(
        "average", description="how the trunk's map becomes one vector"
    )
    classifier: Widths = Field((), description="neurons of dense layers before the output layer")

    @model_validator(mode="after")
    def _head_is_ours(self) -> Self:
        unused = self.model_fields_set - {"weights", "include_top"}
        if self.include_top and unused:
            raise ValueError(
                f"options {', '.join(sorted(unused))} shape a head of one's own, and Keras' head "
                "is in use. Set include_top = false"
            )
        return self


@dataclass(frozen=True)
class Application(Architecture):
    """One builder of keras.applications."""

    options = ApplicationOptions

    builder: Callable[..., keras.Model]
    _: KW_ONLY
    min_image_size: int = 32

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: ApplicationOptions
    ) -> keras.KerasTensor:
        """Build Keras' network on `inputs`, with its head or ours."""
        if options.include_top and options.weights == "imagenet" and num_classes != _IMAGENET:
            raise ValueError(
                f'weights = "imagenet" with Keras\' head knows {_IMAGENET} classes, not '
                f"{num_classes}. Set include_top = false to train a head of your own"
            )
        network = self.builder(
            input_tensor=_rgb(inputs),
            input_shape=(*inputs.shape[1:3], 3),
            include_top=options.include_top,
            weights=options.weights,
            classes=num_classes,
        )
        _name_by_position(network)
        x = _refit(network, inputs, options)
        return x if options.include_top else _own_head(x, num_classes, options)


def zoo_name(builder: str) -> str:
    """Return the zoo's spelling of a Keras builder: MobileNetV2 is applications/mobilenet_v2."""
    before_word = r"(?<=[a-z\d])(?=V\d)|(?<=Net|.V\d|eXt)(?=[A-Z])|(?<=Inception)(?=ResNet)"
    return f"applications/{re.sub(before_word, '_', builder).lower()}"


def _application(name: str, builder: Callable[..., keras.Model]) -> Application:
    return Application(
        builder,
        paper=_paper(builder),
        scaling=_scaling(builder),
        min_image_size=_MIN_IMAGE_SIZE.get(name, 32),
    )


def _paper(builder: Callable[..., keras.Model]) -> str:
    """Return the title and venue that the builder's documentation refers to."""
    reference = re.search(
        r"\[(.+?)\]\(\s*http\S+\)(?:\s*\((.+?)\))?", builder.__doc__ or "", re.DOTALL
    )
    if reference is None:
        return f"keras.applications.{builder.__name__}"
    return ", ".join(" ".join(part.split()) for part in reference.groups() if part)


def _scaling(builder: Callable[..., keras.Model]) -> Scaling:
    """Return the kind of preprocessing that Keras defines beside the builder.

    Keras keeps the kind inside the function, so it is told by what becomes of a black pixel.
    """
    module: Any = inspect.getmodule(builder)
    black = module.preprocess_input(np.zeros((1, 1, 1, 3), np.float32))
    return _BLACK_BECOMES[round(float(black.flat[0]), 3)]


VARIANTS: dict[str, Architecture] = {
    zoo_name(name): _application(name, builder)
    for name, builder in inspect.getmembers(keras.applications, inspect.isfunction)
}


def _rgb(x: keras.KerasTensor) -> keras.KerasTensor:
    """Repeat a single channel three times: Keras' weights and its scaling layers expect colours."""
    return layers.Concatenate(name="rgb")([x] * 3) if x.shape[-1] == 1 else x


def _name_by_position(network: keras.Model) -> None:
    """Rename layers that Keras numbered through the whole process: names are checkpoint keys."""
    numbers: Counter[str] = Counter()
    for layer in network.layers:
        kind = type(layer).__name__.lower()
        if re.sub(r"_|\d+$", "", layer.name) == kind:
            numbers[kind] += 1
            layer.name = f"{kind}_{numbers[kind]}"


def _head(network: keras.Model) -> list[keras.layers.Layer]:
    """Return the last layer with weights and all that follow it."""
    following = list(reversed(network.layers))
    depth = next(i for i, layer in enumerate(following) if layer.weights)
    return following[: depth + 1]


def _refit(
    network: keras.Model, inputs: keras.KerasTensor, options: ApplicationOptions
) -> keras.KerasTensor:
    """Return the network's output, with a float32 head and no grouped convolution left to XLA."""
    head = _head(network) if options.include_top else []
    grouped = [x for x in network.layers if isinstance(x, layers.Conv2D) and x.groups > 1]
    if not grouped and all(layer.compute_dtype == "float32" for layer in head):
        return network.output

    def remade(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config() | ({"dtype": "float32"} if layer in head else {})
        return (GroupedConv2D if layer in grouped else type(layer)).from_config(config)

    same_structure = [inputs] if isinstance(network.input, list) else inputs
    copy = keras.models.clone_model(network, input_tensors=same_structure, clone_function=remade)
    if options.weights is not None:
        copy.set_weights(network.get_weights())
    return copy.output


def _own_head(
    x: keras.KerasTensor, num_classes: int, options: ApplicationOptions
) -> keras.KerasTensor:
    x = _POOLINGS[options.pooling](name="head_pool")(x)
    for i, units in enumerate(options.classifier, start=1):
        x = hidden(x, units, options, f"head_dense{i}")
    if not options.classifier:
        x = dropout(x, options.dropout, "head_drop")
    return classify(x, num_classes, options)
