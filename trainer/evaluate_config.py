"""What a job says about the evaluation on its test split."""

from pydantic import BaseModel, ConfigDict, Field


class EvaluateConfig(BaseModel):
    """Confidence intervals, calibration and the groups that are scored on their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slices: tuple[str, ...] = Field(
        (),
        description="Metadata columns whose values are scored one by one: a csv manifest's further "
        'columns, such as ["device"], or further features of a TFDS set',
    )
    confidence: float = Field(
        0.95, gt=0.5, lt=1, description="Level of the intervals; 0.95 is what readers expect"
    )
    resamples: int = Field(
        1000,
        ge=100,
        description="Bootstrap samples behind an interval; 1000 settle its ends to about a "
        "tenth of its width",
    )
    calibration_bins: int = Field(
        15,
        ge=2,
        description="Equal bins of confidence; 15 as in Guo et al. 2017, so that errors compare",
    )
    seed: int = Field(0, ge=0, description="Seed of the bootstrap samples")
