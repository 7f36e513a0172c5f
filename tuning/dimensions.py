"""One dimension of a search space, as a job file writes it."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

DIGITS = 12  # of a stepped range's members; the sums of binary fractions are off from 16 on
Value = bool | int | float | str


class _Conditional(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    when: dict[str, list[Value]] = Field(
        default_factory=dict,
        description="Other paths of the space and the values of theirs that make this one matter",
    )


class Choice(_Conditional):
    """One of the listed values."""

    choice: list[Value] = Field(min_length=1, description="Values of one type")

    @model_validator(mode="after")
    def _values_have_one_type(self) -> "Choice":
        types = {type(value) for value in self.choice}
        if len(types) > 1 and types != {int, float}:
            raise ValueError(f"the values of a choice must have one type, got {self.choice}")
        return self

    def members(self) -> list[Value]:
        """Give every value."""
        mixed = any(isinstance(value, float) for value in self.choice)
        return [float(value) for value in self.choice] if mixed else list(self.choice)

    def ends(self) -> list[Value]:
        """Give values such that all are allowed if these are."""
        return self.members()


class Flag(_Conditional):
    """Both truth values."""

    both: Literal[True] = Field(alias="bool", description="true: both values are tried")

    def members(self) -> list[Value]:
        """Give every value."""
        return [True, False]

    def ends(self) -> list[Value]:
        """Give values such that all are allowed if these are."""
        return self.members()


class _Range(_Conditional):
    sampling: Literal["linear", "log"] = Field(
        "linear",
        description="log spreads draws evenly over orders of magnitude, as learning rates want",
    )

    def _check(self, bounds: tuple[float, float], step: float | None) -> None:
        if bounds[0] >= bounds[1]:
            raise ValueError(f"the lowest value must be below the highest, got {list(bounds)}")
        if self.sampling == "log" and bounds[0] <= 0:
            raise ValueError(f"log sampling needs a lowest value above 0, got {bounds[0]}")
        if self.sampling == "log" and step is not None and step <= 1:
            raise ValueError(f"with log sampling, step is a factor above 1, got {step}")

    def _steps(self, bounds: tuple[float, float], step: float) -> int:
        ratio = (
            math.log(bounds[1] / bounds[0], step)
            if self.sampling == "log"
            else (bounds[1] - bounds[0]) / step
        )
        return int(ratio + 1e-8)

    def _at(self, low: float, step: float, index: int) -> float:
        return low * step**index if self.sampling == "log" else low + step * index


class IntRange(_Range):
    """A whole number between two bounds, both included."""

    bounds: tuple[int, int] = Field(alias="int", description="Lowest and highest value")
    step: int | None = Field(
        None,
        ge=1,
        description="Distance of neighbouring values, with log sampling their ratio; unset is 1",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "IntRange":
        self._check(self.bounds, self.step)
        return self

    def members(self) -> list[Value]:
        """Give every value."""
        if self.step is None:
            return list(range(self.bounds[0], self.bounds[1] + 1))
        count = self._steps(self.bounds, self.step) + 1
        return [int(self._at(self.bounds[0], self.step, index)) for index in range(count)]

    def ends(self) -> list[Value]:
        """Give values such that all are allowed if these are."""
        return list(self.bounds)


class FloatRange(_Range):
    """A number between two bounds."""

    bounds: tuple[float, float] = Field(alias="float", description="Lowest and highest value")
    step: float | None = Field(
        None,
        gt=0,
        description="Distance of neighbouring values, with log sampling their ratio; unset allows "
        "all between the bounds",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "FloatRange":
        self._check(self.bounds, self.step)
        return self

    def members(self) -> list[Value]:
        """Give every value; without a step there are too many, and none is given.

        They are as a person writes them: 0.3, where adding up gives 0.30000000000000004.
        """
        if self.step is None:
            return []
        count = self._steps(self.bounds, self.step) + 1
        exact = [self._at(self.bounds[0], self.step, index) for index in range(count)]
        return [float(f"{value:.{DIGITS}g}") for value in exact]

    def ends(self) -> list[Value]:
        """Give values such that all are allowed if these are."""
        return list(self.bounds)


KINDS: dict[str, type[BaseModel]] = {
    "choice": Choice,
    "int": IntRange,
    "float": FloatRange,
    "bool": Flag,
}


def _kind(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((kind for kind in KINDS if kind in value), None)
    return next((kind for kind, model in KINDS.items() if isinstance(value, model)), None)


Dimension = Annotated[
    Annotated[Choice, Tag("choice")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[FloatRange, Tag("float")]
    | Annotated[Flag, Tag("bool")],
    Discriminator(
        _kind,
        custom_error_type="dimension",
        custom_error_message="expected {choice = [...]}, {int = [LOW, HIGH]}, "
        "{float = [LOW, HIGH]} or {bool = true}",
    ),
]
