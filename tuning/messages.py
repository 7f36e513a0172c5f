"""Trials as messages of KerasTuner's chief/worker protocol."""

from typing import Any

import keras_tuner
from keras_tuner.src import protos  # KerasTuner has no public name for its protocol

from tuning.space import Values
from tuning.trial import TUNER_KEYS, Assignment, split_values

Status = keras_tuner.engine.trial.TrialStatus
HALVINGS = f"{TUNER_KEYS}halvings"  # of the batch; beside the keys that Hyperband adds
types, service = protos.get_proto(), protos.get_service()
rpc = protos.get_service_grpc()


def trial_message(
    space: keras_tuner.HyperParameters, trial: str, values: Values, status: str
) -> Any:
    """Give a trial as KerasTuner's message; fields that the job leaves unset are left out."""
    found = space.copy()
    found.values = {path: value for path, value in values.items() if value is not None}
    return keras_tuner.engine.trial.Trial(found, trial, status).to_proto()


def assignment_values(assignment: Assignment, drawn: Values) -> Values:
    """Give the values of an assignment with what a worker must know beside them.

    `drawn` are those of the algorithm, with Hyperband's own.
    """
    values = {**assignment.values, **split_keys(drawn)}
    if assignment.halvings:
        values[HALVINGS] = assignment.halvings
    return values


def split_keys(drawn: Values) -> Values:
    """Give only what Hyperband has added to the values for itself."""
    return {path: value for path, value in drawn.items() if path.startswith(TUNER_KEYS)}


def assignment_of(message: Any) -> Assignment:
    """Read what to train from KerasTuner's message of a trial."""
    found = keras_tuner.engine.trial.Trial.from_proto(message)
    values, added = split_values(found.hyperparameters.values)
    return Assignment(
        found.trial_id,
        values,
        added.get("epochs"),
        added.get("trial_id"),
        added.get("halvings", 0),
    )
