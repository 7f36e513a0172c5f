"""What a job says about how the learning rate moves during training, and when it must."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline import idle

ScheduleName = Literal["constant", "step", "exponential", "cosine", "one_cycle"]
FIELDS_OF: dict[ScheduleName, set[str]] = {  # beside name and warmup_epochs
    "constant": set(),
    "step": {"factor", "every_epochs"},
    "exponential": {"factor", "every_epochs"},
    "cosine": {"floor"},
    "one_cycle": {"floor"},
}


class ScheduleConfig(BaseModel):
    """The learning rate as a function of the steps done; train.learning_rate is its highest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ScheduleName = Field(
        "constant",
        description="constant; step multiplies by factor every so many epochs, exponential gets "
        "there smoothly; cosine falls to the floor by the last epoch; one_cycle (Smith 2018) first "
        "climbs from a 25th",
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        description="Epochs of a straight climb from near 0, which large batches and high rates "
        "need; in one_cycle the length of its own climb, 0 meaning three tenths of the training",
    )
    factor: float = Field(
        0.1, gt=0, lt=1, description="For step and exponential; a tenth is the papers' custom"
    )
    every_epochs: float = Field(
        10.0, gt=0, description="For step and exponential: epochs until the factor has worked once"
    )
    floor: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="For cosine and one_cycle: where they end, as a share of train.learning_rate; "
        "0, as the last steps then settle fully",
    )

    @model_validator(mode="after")
    def _fields_suit_the_name(self) -> "ScheduleConfig":
        for field in ("factor", "every_epochs", "floor"):
            changed = getattr(self, field) != type(self).model_fields[field].default
            if changed and field not in FIELDS_OF[self.name]:
                suited = sorted({"warmup_epochs"} | FIELDS_OF[self.name])
                raise ValueError(
                    f"{field} has no meaning for a {self.name} schedule; allowed beside name: "
                    f"{', '.join(suited)}"
                )
        return self


class PlateauConfig(BaseModel):
    """Lower the rate when validation no longer improves, under any schedule."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience: int = Field(
        3, ge=1, description="Epochs without a lower validation loss before the rate falls"
    )
    factor: float = Field(0.3, gt=0, lt=1, description="What the rate is then multiplied by")
    lowest: float = Field(
        1e-3, gt=0, lt=1, description="Never below this share of the scheduled rate"
    )


class DivergenceConfig(BaseModel):
    """What happens when the loss blows up: training goes back an epoch, with a smaller rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rollbacks: int = Field(
        2,
        ge=0,
        description="How often training goes back to the last epoch's state before it fails; 0 "
        "fails at once",
    )
    factor: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="What the rate is then multiplied by, for good; two tenths mend a rate that is "
        "100 times too high",
    )
    jump: float = Field(
        3.0,
        gt=1,
        description="An average loss this many times the last epoch's has blown up too, when it is "
        "no better than the first epoch's",
    )

    @model_validator(mode="after")
    def _a_factor_needs_a_rollback(self) -> "DivergenceConfig":
        if not self.rollbacks:
            idle.refuse(self, ("factor",), "rollbacks is 0, and training fails at once")
        return self
