"""What every family of the zoo declares: its paper, its input, its options, its graph."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import BaseModel, ConfigDict, Field, Strict

Scaling = Literal["unit", "caffe", "torch", "tf", "none"]
Takes = Literal["image", "features"]

Activation = Literal[
    "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish",
    "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign", "linear",
]  # fmt: skip
Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
    "random_normal", "random_uniform", "truncated_normal", "variance_scaling",
]  # fmt: skip
Pooling = Literal["max", "average", "min"]
Rate = Annotated[float, Field(ge=0, lt=1)]
Width = Annotated[int, Field(ge=1)]
Widths = Annotated[tuple[Width, ...], Strict(False)]  # a job file's lists are welcome

Published = Callable[..., keras.Model]  # a builder of keras.applications
Outputs = Any  # one KerasTensor, or a dict of them by name; Keras has no public type for it


class Options(BaseModel):
    """What may be varied in every family; a family adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    activation: Activation = Field("relu", description="nonlinearity of every hidden layer")
    initializer: Initializer = Field("glorot_uniform", description="initial kernels (Keras name)")
    dropout: Rate = Field(
        0.0,
        description="share of values dropped in training, ahead of the output layer",
    )


@dataclass(frozen=True)
class Architecture(ABC):
    """One row of a family's table.

    `scaling` names the preprocessing that the network's weights expect; `pipeline` applies it, so
    the network itself starts at scaled floats. `min_image_size` is the side in pixels of the
    smallest square image, None for networks that take vectors. `published` is the builder of
    keras.applications whose layers have the same names and weights, where there is one.
    """

    _: KW_ONLY
    paper: str
    min_image_size: int | None
    scaling: Scaling = "unit"
    takes: Takes = "image"
    published: Published | None = None
    auxiliary_loss_weights: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({})
    )  # by output name, for networks built with more outputs than "probabilities"

    options: ClassVar[type[Options]] = Options

    @abstractmethod
    def connect(self, inputs: keras.KerasTensor, num_classes: int, options: Any) -> Outputs:
        """Return the probabilities (float32 [N, num_classes]) computed from `inputs`.

        `options` is an instance of `self.options`. A network with auxiliary classifiers returns a
        dict of outputs by name.
        """

    def inputs(
        self, image_size: tuple[int, int] | None, channels: int, features: int | None
    ) -> keras.KerasTensor:
        """Return the input layer: image [N, H, W, C] or features [N, D]. Raises ValueError."""
        if self.takes == "features":
            return keras.Input((_vector_size(features),), name="features")
        height, width = self._image_size(image_size)
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {channels!r}")
        return keras.Input((height, width, channels), name="image")

    def _image_size(self, image_size: tuple[int, int] | None) -> tuple[int, int]:
        smallest = self.min_image_size or 1
        if image_size is None or len(image_size) != 2:
            raise ValueError(f"image_size must be (height, width) in pixels, not {image_size!r}")
        if min(image_size) < smallest:
            raise ValueError(
                f"image_size {tuple(image_size)} is too small: the smallest image this network "
                f"takes is ({smallest}, {smallest}). Use larger images or a smaller network"
            )
        return image_size


def _vector_size(features: int | None) -> int:
    if not features or features < 1:
        raise ValueError(f"features must be the length of the input vectors, not {features!r}")
    return features
