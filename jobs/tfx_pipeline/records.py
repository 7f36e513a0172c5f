"""What ML Metadata know of a run: its steps, their artifacts, and the verdict."""

from dataclasses import asdict, dataclass, field
from typing import Any

import ml_metadata as mlmd
import tensorflow_model_analysis as tfma
from ml_metadata.proto import metadata_store_pb2

from jobs.exits import ConfigError

STATES = metadata_store_pb2.Execution.State
OUTPUT = metadata_store_pb2.Event.OUTPUT
ACCURACY = "sparse_categorical_accuracy"


@dataclass(frozen=True)
class Artifact:
    """What a step has made."""

    type: str
    uri: str
    properties: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One execution of a component."""

    name: str
    state: str  # COMPLETE, CACHED or FAILED
    seconds: float
    artifacts: list[Artifact]


@dataclass(frozen=True)
class Record:
    """A run as it ended."""

    run: str
    status: str  # "published", "unchanged", "not_blessed", "not_published" or "failed"
    version: int | None
    blessed: bool
    metrics: dict[str, float]
    seconds: float
    steps: list[Step]
    reasons: list[str] = field(default_factory=list)  # why it was not published

    def to_json(self) -> dict[str, Any]:
        """Give it as plain JSON values."""
        return asdict(self)


def read_record(connection: Any, run: str) -> Record:
    """Read a run back. Raises ConfigError when the metadata do not know it."""
    store = mlmd.MetadataStore(connection)
    context = store.get_context_by_type_and_name("pipeline_run", run)
    if context is None:
        known = sorted(found.name for found in store.get_contexts_by_type("pipeline_run"))
        raise ConfigError(f"no run {run}. Newest runs: {', '.join(known[-5:]) or 'none'}")
    executions = store.get_executions_by_context(context.id)
    steps = [_step(store, execution) for execution in sorted(executions, key=lambda e: e.id)]
    made = {artifact.type: artifact for step in steps for artifact in step.artifacts}
    pushed = made["PushedModel"].properties if "PushedModel" in made else {}
    blessed = bool("ModelBlessing" in made and made["ModelBlessing"].properties.get("blessed"))
    return Record(
        run=run,
        status=_status(steps, pushed, blessed),
        version=int(pushed["pushed_version"]) if pushed.get("pushed") else None,
        blessed=blessed,
        metrics=_metrics(made.get("ModelEvaluation")),
        seconds=round(sum(step.seconds for step in steps), 1),
        steps=steps,
        reasons=_reasons(made.get("ModelEvaluation"), pushed),
    )


def _step(store: Any, execution: Any) -> Step:
    contexts = store.get_contexts_by_execution(execution.id)
    name = next(c.name for c in contexts if c.type == "node").rpartition(".")[2]
    events = store.get_events_by_execution_ids([execution.id])
    ids = [event.artifact_id for event in events if event.type == OUTPUT]
    took = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    artifacts = [_artifact(found) for found in store.get_artifacts_by_id(ids)]
    state = STATES.Name(execution.last_known_state)
    return Step(name, state, round(took / 1000, 1), artifacts)


def _artifact(found: Any) -> Artifact:
    values = {key: _value(value) for key, value in found.custom_properties.items()}
    return Artifact(found.type, found.uri, values)


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind in ("int_value", "double_value", "string_value") else None


def _status(steps: list[Step], pushed: dict[str, Any], blessed: bool) -> str:
    if not pushed or any(step.state == "FAILED" for step in steps):
        return "failed"
    if not blessed:
        return "not_blessed"
    if not pushed.get("pushed"):
        return "not_published"
    cached = steps[-1].state == "CACHED"
    return "unchanged" if cached or pushed.get("unchanged") else "published"


def _metrics(evaluation: Artifact | None) -> dict[str, float]:
    """Give what was measured on the whole test split."""
    if evaluation is None:
        return {}
    result = tfma.load_eval_result(evaluation.uri)
    whole: dict[str, Any] = next((values for key, values in result.slicing_metrics if not key), {})
    found = {name: value for name, value in whole.get("", {}).get("", {}).items() if value}
    values = {name: next(iter(value.values())) for name, value in found.items()}
    named = {"accuracy" if name == ACCURACY else name: value for name, value in values.items()}
    return {name: value for name, value in named.items() if isinstance(value, float)}


def _reasons(evaluation: Artifact | None, pushed: dict[str, Any]) -> list[str]:
    if evaluation is None:
        return []
    found: list[str] = []
    for part in tfma.load_validation_result(evaluation.uri).metric_validations_per_slice:
        columns = part.slice_key.single_slice_keys
        where = ", ".join(f"{key.column} {key.bytes_value.decode()}" for key in columns)
        found += [_reason(failure, where) for failure in part.failures]
    if pushed.get("reasons") and not found:
        found.append(pushed["reasons"])
    return found


def _reason(failure: Any, where: str) -> str:
    name, threshold = failure.metric_key.name, failure.metric_threshold
    value = failure.metric_value.double_value.value
    limit = threshold.value_threshold.lower_bound.value or threshold.change_threshold.absolute.value
    change = "change of " if failure.metric_key.is_diff and name == ACCURACY else ""
    told = "accuracy" if name == ACCURACY else name
    return f"{change}{told} is {value:.4f}, below {limit:.4g}" + (f" ({where})" if where else "")
