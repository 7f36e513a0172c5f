"""The rules that data must pass, each with its limit and how bad it is to break it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Severity = Literal["error", "warning", "off"]


class Rule(BaseModel):
    """A limit, and what it means when the value passes it: error stops the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: float = Field(description="The value that is still good")
    severity: Severity = Field(description="error stops the run; warning is reported; off skips it")


def _rule(limit: float, severity: Severity, description: str) -> Rule:
    rule: Rule = Field(Rule(limit=limit, severity=severity), description=description)
    return rule


class CheckConfig(BaseModel):
    """Limits of the data check; `{limit = 0.1, severity = "warning"}` changes one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _keep_what_is_not_set(cls, given: Any) -> Any:
        """Let a job set the limit of a rule alone, or its severity alone."""
        if not isinstance(given, dict):
            return given
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {
            name: {**defaults[name].model_dump(), **rule}
            if isinstance(rule, dict) and name in defaults
            else rule
            for name, rule in given.items()
        }

    undecodable: Rule = _rule(
        0.01,
        "error",
        "Share of files that do not decode; a few are usual, many are a broken export",
    )
    passed_over: Rule = _rule(
        0.05,
        "warning",
        "Share of files that lie with the images and are none of a class: of other endings, links "
        "to nowhere, outside of the classes' directories",
    )
    numbers: Rule = _rule(
        0, "error", "Share of vectors with a NaN or an infinity; one is enough to lose a training"
    )
    class_size: Rule = _rule(
        10, "error", "Fewest training examples of a class; below ten nothing can be learned or told"
    )
    imbalance: Rule = _rule(
        20, "warning", "Training examples of the largest class for one of the smallest"
    )
    duplicates: Rule = _rule(
        0.05, "warning", "Share of training examples whose pixels are those of an earlier one"
    )
    near_duplicates: Rule = _rule(
        0.2, "warning", "Share of training examples that look like another to a perceptual hash"
    )
    leakage: Rule = _rule(
        0.01, "error", "Share of validation and test examples whose pixels were trained on"
    )
    conflicts: Rule = _rule(
        0.005, "error", "Share of examples whose pixels also stand under another label"
    )
    upscaling: Rule = _rule(
        4, "warning", "Side of the network's input for one pixel of the median image's side"
    )
    channels: Rule = _rule(
        0.5, "warning", "Share of colour images when the network takes grey, or of grey when colour"
    )
    class_shift: Rule = _rule(
        0.25,
        "warning",
        "Stability index of class shares since the last run; 0.25 is a large shift",
    )
    brightness_shift: Rule = _rule(
        0.25, "warning", "Stability index of image brightness since the last run"
    )
