"""What a page about a run tells of, gathered by whoever ran it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.dataset import DataInfo
from trainer.evaluate import Evaluation, Predictions
from trainer.page import Section


@dataclass(frozen=True)
class TrainingFacts:
    """How the training went, apart from its curves."""

    precision: str = ""  # the Keras dtype policy, and why
    waiting: Sequence[Mapping[str, float]] = ()  # `input.json`'s entries
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage of the run
    warnings: Sequence[str] = ()  # of what it began with


@dataclass(frozen=True)
class RunSummary:
    """One run. What is empty leaves its part of the page out."""

    name: str
    info: DataInfo
    evaluation: Evaluation
    predictions: Predictions
    status: str = "trained"  # published, not_blessed or trained
    version: int | None = None  # in the store
    rules: Sequence[Mapping[str, Any]] = ()  # findings of the data check
    offenders: Sequence[tuple[str, np.ndarray]] = ()  # pictures of what broke a rule
    blessing: Sequence[Mapping[str, Any]] = ()  # rules with name, value, limit, ok and detail
    training: TrainingFacts = TrainingFacts()
    card: Mapping[str, Any] = field(default_factory=dict)  # provenance
    config: str = ""  # the resolved job file
    more: Sequence[Section] = ()  # further sections, such as a search's
