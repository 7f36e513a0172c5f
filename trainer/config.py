"""What a job says about its network and its training."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PrecisionName = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
OptimizerName = Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"]


class ModelConfig(BaseModel):
    """An architecture of the zoo and its own options."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description='Any name that "convoy zoo" lists')
    weights: str | None = Field(
        None,
        description='Start from "imagenet" (applications only), a run, or a .keras, .h5 or '
        ".weights.h5 file; unset starts from random weights",
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The architecture's own options, checked against its builder's signature",
    )


class FineTuneConfig(BaseModel):
    """The second phase of transfer learning, after the head was trained on a frozen trunk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stages: int = Field(
        1,
        ge=0,
        description="Stages of the trunk that train, counted from its end; 1 adapts the "
        "features that are most particular to the old task",
    )
    epochs: int = Field(
        10, ge=1, description="At most this many epochs after those of train.epochs"
    )
    learning_rate: float = Field(
        1e-5, gt=0, description="A hundredth of Adam's usual: what was learned is to be kept"
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
    frozen: bool = Field(
        False, description="Keep the trunk as it comes and train the head alone; for model.weights"
    )
    fine_tune: FineTuneConfig | None = Field(
        None, description="Optional, with train.frozen: a second phase that thaws the trunk's end"
    )
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
    checkpoint_steps: int | None = Field(
        None,
        ge=1,
        description="Steps between two states on disk inside an epoch, beside the one after every "
        "epoch; unset writes one every 10 s, or as rarely as keeps it to 1% of the time",
    )
    top_k: int = Field(
        5,
        ge=2,
        description="Evaluation also counts a hit among this many best guesses; 5 is ImageNet's",
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights and dropout")

    @model_validator(mode="after")
    def _fine_tuning_follows_a_frozen_phase(self) -> "TrainConfig":
        if self.fine_tune and not self.frozen:
            raise ValueError("fine_tune thaws a frozen trunk: set frozen = true, or leave it out")
        return self
