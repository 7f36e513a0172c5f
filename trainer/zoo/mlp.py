"""Multilayer perceptrons for vectors of measurements, such as Fisher's iris data."""

from dataclasses import KW_ONLY, dataclass
from typing import Self

import keras
from keras import layers
from pydantic import Field, model_validator

from trainer.zoo.architecture import Architecture, Options, Takes, Width, Widths
from trainer.zoo.head import classify, hidden

_PAPER = "Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors"


class MLPOptions(Options):
    """Options of `mlp`: a stack of dense layers."""

    units: Widths | Width = Field((50,), description="neurons of each hidden layer, in order")
    hidden_layers: Width | None = Field(
        None,
        description="how many hidden layers: the first of `units`, or one number repeated",
    )
    batch_norm: bool = Field(False, description="normalise before each activation")

    @property
    def widths(self) -> tuple[int, ...]:
        """Neurons of each hidden layer that is built."""
        if isinstance(self.units, int):
            return (self.units,) * (self.hidden_layers or 1)
        return self.units[: self.hidden_layers]

    @model_validator(mode="after")
    def _enough_units(self) -> Self:
        if self.hidden_layers and len(self.widths) < self.hidden_layers:
            raise ValueError(
                f"hidden_layers = {self.hidden_layers} needs as many numbers in units, "
                f"which has {len(self.widths)}; or give one number for all layers"
            )
        return self


class WideOptions(Options):
    """Options of `mlp_wide`: parallel dense layers."""

    units: Widths = Field((50, 80, 30), min_length=1, description="neurons of each parallel layer")
    batch_norm: bool = Field(False, description="normalise before each activation")


@dataclass(frozen=True)
class MLP(Architecture):
    """Dense layers one after another."""

    options = MLPOptions

    _: KW_ONLY
    paper: str = _PAPER
    min_image_size: None = None
    takes: Takes = "features"

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: MLPOptions
    ) -> keras.KerasTensor:
        """Stack the hidden layers and classify."""
        x = inputs
        for i, units in enumerate(options.widths, start=1):
            x = hidden(x, units, options, f"hidden{i}", options.batch_norm)
        return classify(x, num_classes, options)


@dataclass(frozen=True)
class WideMLP(Architecture):
    """Dense layers side by side, concatenated."""

    options = WideOptions

    _: KW_ONLY
    paper: str = _PAPER
    min_image_size: None = None
    takes: Takes = "features"

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: WideOptions
    ) -> keras.KerasTensor:
        """Concatenate the parallel layers and classify."""
        branches = [
            hidden(inputs, units, options, f"branch{i}", options.batch_norm)
            for i, units in enumerate(options.units, start=1)
        ]
        x = layers.Concatenate(name="branches")(branches) if len(branches) > 1 else branches[0]
        return classify(x, num_classes, options)


VARIANTS: dict[str, Architecture] = {"mlp": MLP(), "mlp_wide": WideMLP()}
