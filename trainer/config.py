"""What a job says about its network and its training."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

PrecisionName = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]


class ModelConfig(BaseModel):
    """An architecture of the zoo and its own options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description='Any name that "convoy zoo" lists')
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The architecture's own options, checked against its builder's signature",
    )


class TrainConfig(BaseModel):
    """How long, how fast and with what a network is fitted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(
        20,
        ge=1,
        description="At most this many passes over the training split; early stopping may end "
        "sooner",
    )
    batch_size: int = Field(
        128,
        ge=1,
        description="Examples in a step; 128 keeps two cores busy without hurting small "
        "networks' accuracy",
    )
    optimizer: OptimizerName = Field(
        "adam",
        description="Adam needs the least tuning; momentum and nesterov are SGD with momentum 0.9",
    )
    learning_rate: float = Field(1e-3, gt=0, description="Step size; 1e-3 is Adam's own default")
    precision: PrecisionName = Field(
        "auto",
        description="auto computes in 16 bits where this machine gains from it, else in float32",
    )
    early_stopping_patience: int | None = Field(
        5,
        ge=1,
        description="Epochs without a lower validation loss before training ends; unset never "
        "stops early",
    )
    top_k: int = Field(
        5,
        ge=2,
        description="Evaluation also counts a hit among this many best guesses; 5 is ImageNet's",
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights and dropout")
