"""What a job says about its hyperparameter search."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline import idle
from tuning.dimensions import Dimension
from tuning.objective import direction_of

Algorithm = Literal["random", "bayesian", "hyperband", "grid"]
DEFAULT_TRIALS = 12  # of algorithms that have no end of their own


class BayesianConfig(BaseModel):
    """Arguments of KerasTuner's BayesianOptimization."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_initial_points: int | None = Field(
        None,
        ge=1,
        description="Random trials before the first guess; unset takes three for every dimension",
    )
    alpha: float = Field(
        1e-4, gt=0, description="Noise expected in scores; KerasTuner's own default"
    )
    beta: float = Field(
        2.6, ge=0, description="How far the unknown is preferred to the good; KerasTuner's default"
    )


class HyperbandConfig(BaseModel):
    """Arguments of KerasTuner's Hyperband."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_epochs: int | None = Field(
        None, ge=2, description="Epochs of those that survive; unset takes train.epochs"
    )
    factor: int = Field(
        3, ge=2, description="One in this many goes on, with as many times the epochs"
    )
    iterations: int = Field(1, ge=1, description="Times that the whole algorithm runs")


class TuneConfig(BaseModel):
    """The space to search, how, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        False,
        description="Search inside convoy run, then train the best in full; false leaves searching "
        "to convoy tune, as it takes as long as all trials together",
    )
    algorithm: Algorithm = Field(
        "random", description="random needs no assumption; hyperband gives up on the weak early"
    )
    bayesian: BayesianConfig = Field(
        BayesianConfig(), description="For bayesian alone; KerasTuner's own defaults"
    )
    hyperband: HyperbandConfig = Field(
        HyperbandConfig(), description="For hyperband alone; the paper's factor of 3"
    )
    objective: str = Field(
        "val_accuracy",
        description="What to optimise, of the epoch whose weights are kept: a column of history.csv"
        " such as val_loss, or val_ and any metric of evaluation.json, on the validation split",
    )
    direction: Literal["min", "max"] | None = Field(
        None, description="Whether less or more is better; unset knows it from the objective's name"
    )
    max_trials: int | None = Field(
        None,
        ge=1,
        description=f"Trials at most; unset takes {DEFAULT_TRIALS} for random and bayesian, and "
        "all that grid and hyperband have",
    )
    max_minutes: float | None = Field(
        None, gt=0, description="No trial runs longer than this after the search's start"
    )
    max_failed: int = Field(
        5, ge=1, description="Failed trials that end the search: so many have one cause"
    )
    retries: int = Field(
        2, ge=0, description="Times a trial is tried again whose process was killed or hung"
    )
    hang_minutes: float = Field(
        10, gt=0, description="Minutes without a training step before a trial counts as hung"
    )
    memory_limit_mb: int | None = Field(
        None,
        ge=256,
        description="Memory of a trial's process before it counts as out of memory; unset leaves "
        "that to the system",
    )
    warm_start: int = Field(
        3, ge=0, description="Best trials of the last search of this name that are tried again"
    )
    workers: int = Field(1, ge=1, description="Trials at a time, each in a process of its own")
    lease_seconds: float = Field(
        30,
        ge=1,
        description="Silence of a worker on another host after which its trial is another's",
    )
    chief_minutes: float = Field(
        10, gt=0, description="Minutes that a worker waits for a chief that does not answer"
    )
    seed: int = Field(0, ge=0, description="Seed of the values drawn")
    space: dict[str, Dimension] = Field(
        default_factory=dict,
        description='Fields of the job by path, such as "train.learning_rate" or '
        '"model.options.activation"',
    )

    @model_validator(mode="after")
    def _direction_is_known(self) -> "TuneConfig":
        if self.direction is None:
            direction_of(self.objective)
        return self

    @model_validator(mode="after")
    def _arguments_are_of_the_algorithm(self) -> "TuneConfig":
        others = {"bayesian", "hyperband"} - {self.algorithm}
        idle.refuse(self, sorted(others), f"the algorithm is {self.algorithm}")
        if self.algorithm == "grid":
            idle.refuse(self, ("seed",), "grid draws nothing")
        return self

    @model_validator(mode="after")
    def _parents_are_in_the_space(self) -> "TuneConfig":
        for path, dimension in self.space.items():
            for parent, values in dimension.when.items():
                if parent not in self.space:
                    raise ValueError(
                        f"space.{path} depends on {parent!r}, which is not in the space; allowed: "
                        f"{', '.join(other for other in self.space if other != path)}"
                    )
                allowed = self.space[parent].members()
                if foreign := [value for value in values if value not in allowed]:
                    raise ValueError(
                        f"space.{path} depends on {parent} being {foreign[0]!r}, which it never "
                        f"is; allowed: {allowed}"
                    )
        _check_cycles(self.space)
        return self

    @property
    def lowest_is_best(self) -> bool:
        """Tell whether a lower objective is the better one."""
        return (self.direction or direction_of(self.objective)) == "min"

    @property
    def trial_limit(self) -> int | None:
        """Give the most trials to run; None where the algorithm ends by itself."""
        if self.max_trials is None and self.algorithm in ("random", "bayesian"):
            return DEFAULT_TRIALS
        return self.max_trials


def _check_cycles(space: dict[str, Dimension]) -> None:
    settled: set[str] = set()
    while ready := [
        path
        for path, dimension in space.items()
        if path not in settled and settled.issuperset(dimension.when)
    ]:
        settled.update(ready)
    if circle := sorted(set(space) - settled):
        raise ValueError(f"these dimensions depend on each other in a circle: {', '.join(circle)}")
