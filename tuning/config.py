"""What a job says about its hyperparameter search."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


class Choice(BaseModel):
    """One of the listed values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choice: list[str | int | float] = Field(min_length=1, description="Values of one type")


class IntRange(BaseModel):
    """A whole number between two bounds, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    bounds: tuple[int, int] = Field(alias="int", description="Lowest and highest value")
    step: int = Field(1, ge=1, description="Distance between neighbouring values")

    @model_validator(mode="after")
    def _in_order(self) -> "IntRange":
        return _check_order(self, self.bounds)


class FloatRange(BaseModel):
    """A number between two bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    bounds: tuple[float, float] = Field(alias="float", description="Lowest and highest value")
    sampling: Literal["linear", "log"] = Field(
        "linear",
        description="log spreads draws evenly over orders of magnitude, as learning rates want",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "FloatRange":
        if self.sampling == "log" and self.bounds[0] <= 0:
            raise ValueError(f"log sampling needs a lowest value above 0, got {self.bounds[0]}")
        return _check_order(self, self.bounds)


def _check_order(range_: Any, bounds: tuple[Any, Any]) -> Any:
    if bounds[0] >= bounds[1]:
        raise ValueError(f"the lowest value must be below the highest, got {list(bounds)}")
    return range_


KINDS = ("choice", "int", "float")


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in KINDS if kind in value), None)
    names: dict[type, str] = {Choice: "choice", IntRange: "int", FloatRange: "float"}
    return names.get(type(value))


Dimension = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[FloatRange, Tag("float")],
    Discriminator(
        _kind,
        custom_error_type="dimension",
        custom_error_message="expected {choice = [...]}, {int = [LOW, HIGH]} or "
        "{float = [LOW, HIGH]}",
    ),
]


class TuneConfig(BaseModel):
    """The space to search and how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_trials: int = Field(
        12, ge=1, description="Trials to run; 12 digits trials take minutes on two cores"
    )
    seed: int = Field(0, ge=0, description="Seed of the values drawn")
    space: dict[str, Dimension] = Field(
        default_factory=dict,
        description='Fields of the job by path, such as "train.learning_rate" or '
        '"model.options.activation"',
    )
