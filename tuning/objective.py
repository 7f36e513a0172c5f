"""Which way an objective is better."""

from typing import Literal

Direction = Literal["min", "max"]

# Words in the names of metrics, the more telling first: "error" wins in "accuracy_error".
LESS_IS_BETTER = ("loss", "error", "brier", "seconds", "gap", "ece")
MORE_IS_BETTER = ("accuracy", "precision", "recall", "f1", "auc", "kappa", "mcc")


def direction_of(objective: str) -> Direction:
    """Tell from its name whether less or more of a metric is better.

    Raises ValueError when the name does not tell.
    """
    if any(word in objective for word in LESS_IS_BETTER):
        return "min"
    if any(word in objective for word in MORE_IS_BETTER):
        return "max"
    raise ValueError(
        f"objective {objective!r} does not tell whether less or more of it is better: set "
        f'direction = "min" or "max". Known by a word in their names: '
        f"{', '.join(LESS_IS_BETTER)} (min), {', '.join(MORE_IS_BETTER)} (max)"
    )
