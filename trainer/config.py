"""What a job says about its network and its training."""

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    field_validator,
    model_validator,
)

from pipeline.labels import distinct
from trainer.schedule_config import DivergenceConfig, PlateauConfig, ScheduleConfig

PrecisionName = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
JitMode = Literal["auto", "on", "off"]
LossName = Literal["cross_entropy", "focal", "squared_error"]
OptimizerName = Literal[
    "sgd", "momentum", "nesterov", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw",
    "ftrl", "lamb", "lion", "muon", "nadam", "rmsprop", "schedule_free_adamw",
]  # fmt: skip


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
        description="Examples in a step, on all devices together; 128 keeps two cores busy without "
        "hurting small networks' accuracy",
    )
    optimizer: OptimizerName = Field(
        "adam",
        description="Adam needs the least tuning; momentum and nesterov are SGD with momentum 0.9, "
        "the others carry Keras' names. schedule_free_adamw is validated, tested and exported at "
        "its average of the weights",
    )
    optimizer_options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of the optimizer, such as beta_2, checked against Keras' "
        "signature",
    )
    loss: LossName = Field(
        "cross_entropy",
        description="Cross-entropy is what probabilities are made for; focal (Lin 2017) cares less "
        "for examples that are right already, squared_error is bounded where labels are wrong",
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="Step size; unset is the optimizer's own in Keras, such as 0.001 in Adam and "
        "0.01 in SGD",
    )
    schedule: ScheduleConfig = Field(
        ScheduleConfig(), description="How the rate moves; constant needs no knowledge of the end"
    )
    plateau: PlateauConfig | None = Field(
        None, description="Optional: lower the rate when validation no longer improves"
    )
    divergence: DivergenceConfig = Field(
        DivergenceConfig(), description="What to do when the loss blows up"
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        description="Share of every kernel taken off in a step, times the rate; biases, "
        "normalisation and all other vectors are spared. Unset is the optimizer's own: 0.004 in "
        "AdamW, Lamb has none",
    )
    clipnorm: float | None = Field(
        None, gt=0, description="Longest gradient of each weight; unset clips nothing"
    )
    global_clipnorm: float | None = Field(
        None, gt=0, description="Longest gradient of all weights together; unset clips nothing"
    )
    clipvalue: float | None = Field(
        None, gt=0, description="Largest entry of a gradient; unset clips nothing"
    )
    accumulation_steps: int = Field(
        1,
        ge=1,
        description="Batches whose gradients are averaged before weights change, the last ones of "
        "an epoch as well where they are fewer: a larger batch than memory holds",
    )
    ema_momentum: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Validate, test and export the running average of the weights, of which each "
        "step keeps this share (0.999 suits thousands of steps); unset uses the last weights",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of each training label spread evenly over all classes; 0 keeps "
        "probabilities as sharp as the labels. Validation is measured on the labels as they are",
    )
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = Field(
        None,
        description='How much a class counts in the training loss: "balanced" in inverse '
        "proportion to its examples, or a table by class name (1 where it is silent); unset counts "
        "every example alike",
    )
    frozen: bool = Field(
        False, description="Keep the trunk as it comes and train the head alone; for model.weights"
    )
    fine_tune: FineTuneConfig | None = Field(
        None, description="Optional, with train.frozen: a second phase that thaws the trunk's end"
    )
    precision: PrecisionName = Field(
        "auto",
        description="auto computes in 16 bits where machine and network gain from it, else in "
        "float32",
    )
    jit: JitMode = Field(
        "auto",
        description="Compile the training step by XLA; auto does on GPUs, as on CPUs it made "
        "mnist_cnn more than five times slower",
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
    steps_per_execution: int | None = Field(
        None,
        ge=1,
        description="Steps that TensorFlow takes in one call; unset as many as fit in 0.1 s, for a "
        "call costs half a millisecond. It changes no weight, only how soon a stop is seen",
    )
    top_k: int = Field(
        5,
        ge=2,
        description="Evaluation also counts a hit among this many best guesses; 5 is ImageNet's",
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights and dropout")

    @field_validator("class_weights")
    @classmethod
    def _classes_are_spelled_as_sources_spell_them(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return dict(zip(distinct(value, "it"), value.values(), strict=True))

    @model_validator(mode="after")
    def _one_way_of_clipping(self) -> "TrainConfig":
        ways = ("clipnorm", "global_clipnorm", "clipvalue")
        if len(chosen := [way for way in ways if getattr(self, way) is not None]) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other: keep one of them")
        return self

    @model_validator(mode="after")
    def _fine_tuning_follows_a_frozen_phase(self) -> "TrainConfig":
        if self.fine_tune and not self.frozen:
            raise ValueError("fine_tune thaws a frozen trunk: set frozen = true, or leave it out")
        return self
