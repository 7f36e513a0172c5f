"""Values of a job's fields by path, such as those that a search has found."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.config import Job, parse
from jobs.exits import ConfigError
from trainer.fields import apply

BEST_VALUES = "best_hyperparameters.txt"  # TFX's name and format


def with_values(job: Job, values: Mapping[str, Any], origin: str = "tune.space") -> Job:
    """Give the job with fields set by path; errors name `origin`.

    Raises ConfigError when a path or a value is not allowed.
    """
    tree = job.model_dump(mode="json", by_alias=True, exclude_none=True)
    return parse(apply(tree, values), origin)


def read_values(path: Path) -> dict[str, Any]:
    """Read values that a search has written in KerasTuner's format, or TFX's Tuner.

    Raises ConfigError when the file is none of these.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        values = dict(stored["values"])
    except FileNotFoundError:
        raise ConfigError(f"no file of hyperparameters {path}") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise ConfigError(
            f"{path} holds no hyperparameters: expected JSON with space and values, as "
            f"{BEST_VALUES} of convoy tune and of TFX's Tuner"
        ) from None
    return {name: value for name, value in values.items() if not name.startswith("tuner/")}
