"""The typed results of a predict call, and how they are read out of a response."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.errors import RequestRejected
from serving.tensors import Array, to_array
from serving.wire import predict_pb2

OUTPUTS = ("probabilities", "class_id", "label")


@dataclass(frozen=True, slots=True)
class Score:
    """One class and its probability."""

    label: str
    class_id: int
    probability: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest class of one image; `top` begins with it. `version` is the model's."""

    label: str
    class_id: int
    probability: float
    top: tuple[Score, ...]
    version: int


@dataclass(frozen=True)
class Answer:
    """The outputs of one predict request on N rows and K classes."""

    probabilities: Array  # float32 [N, K]
    class_ids: Array  # int64 [N]
    labels: tuple[str, ...]
    version: int

    def predictions(self, top: int, names: Sequence[str] | None = None) -> list[Prediction]:
        """One prediction a row. `names`: the K class names, needed for `top` above 1."""
        return [self._prediction(row, top, names) for row in range(len(self.labels))]

    def _prediction(self, row: int, top: int, names: Sequence[str] | None) -> Prediction:
        class_id = int(self.class_ids[row])
        probability = float(self.probabilities[row, class_id])
        best = Score(self.labels[row], class_id, probability)
        others = self._others(row, class_id, top - 1, names) if names else ()
        scores = (best, *others)
        return Prediction(best.label, class_id, probability, scores, self.version)

    def _others(self, row: int, best: int, count: int, names: Sequence[str]) -> tuple[Score, ...]:
        order = np.argsort(-self.probabilities[row], kind="stable").tolist()
        order.remove(best)
        return tuple(
            Score(names[i], i, float(self.probabilities[row, i])) for i in order[: max(count, 0)]
        )


def read(response: predict_pb2.PredictResponse) -> Answer:
    """Raises RequestRejected when the model's outputs are not those of a classifier of ours."""
    missing = [name for name in OUTPUTS if name not in response.outputs]
    if missing:
        raise RequestRejected(
            f"model {response.model_spec.name!r} answers {sorted(response.outputs)}, without "
            f"{missing}: it was not exported by convoy. Client.infer calls any signature.",
            "FAILED_PRECONDITION",
            "",
        )
    probabilities, class_ids, labels = (to_array(response.outputs[name]) for name in OUTPUTS)
    texts = tuple(label.decode() for label in labels)
    return Answer(probabilities, class_ids, texts, response.model_spec.version.value)
