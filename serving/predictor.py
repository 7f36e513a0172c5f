"""From a request's model, signature and arrays to the answer, whatever the protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.errors import RequestError
from serving.registry import Registry
from serving.tensors import Array

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Query:
    """What is asked of which model. `deadline`: time.monotonic() after which nobody listens."""

    model: str
    version: int | None = None
    label: str | None = None
    signature: str = DEFAULT_SIGNATURE
    outputs: Sequence[str] = ()  # none: all of them
    deadline: float | None = None


@dataclass(frozen=True)
class Result:
    """Outputs by name, and the version that computed them."""

    outputs: Mapping[str, Array]
    version: int


class Predictor:
    """Runs requests on the registry's models."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def predict(self, query: Query, inputs: Mapping[str, Array]) -> Result:
        """Check and compute. Raises RequestError."""
        with self.registry.use(query.model, query.version, query.label) as (version, servable):
            signature = servable.signatures.get(query.signature)
            if signature is None:
                raise RequestError(
                    "FAILED_PRECONDITION",
                    f'Serving signature key "{query.signature}" not found.',
                )
            signature.check(inputs)
            signature.check_outputs(query.outputs)
            outputs = servable.predict(query.signature, inputs, query.deadline)
        if query.outputs:
            outputs = {name: outputs[name] for name in query.outputs}
        return Result(outputs, version.number)
