"""McNemar's test of `[bless]` as a metric of the Evaluator: candidate against baseline."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

from jobs.bless import mcnemar

METRIC = "mcnemar_p"
Counts = tuple[int, int]  # examples that only the baseline gets right, and only the candidate


class McNemar(metric_types.Metric):
    """The chance that the candidate loses so many examples, were both equally good."""

    def __init__(self, name: str = METRIC) -> None:
        super().__init__(_computations, name=name)


def _computations(
    name: str = METRIC,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: Iterable[str] = (),
    **_: Any,
) -> metric_types.MetricComputations:
    baseline = model_util.get_baseline_model_spec(eval_config)
    if baseline is None:
        return []
    candidates = [model for model in model_names if model != baseline.name]
    found = []
    for model in candidates:
        key = metric_types.MetricKey(name=name, model_name=model, is_diff=True)
        combiner = _Discordant(eval_config, baseline.name, key)
        found.append(metric_types.MetricComputation([key], None, combiner))
    return found


class _Discordant(beam.CombineFn):
    """Counts the examples that one of the two models alone gets right."""

    def __init__(self, config: Any, baseline: str, key: metric_types.MetricKey) -> None:
        self._config, self._baseline, self._key = config, baseline, key

    def create_accumulator(self) -> Counts:
        return 0, 0

    def add_input(self, counts: Counts, example: metric_types.StandardMetricInputs) -> Counts:
        before, now = self._hit(example, self._baseline), self._hit(example, self._key.model_name)
        return counts[0] + (before and not now), counts[1] + (now and not before)

    def merge_accumulators(self, accumulators: Iterable[Counts]) -> Counts:
        before, now = zip(*accumulators, strict=True)
        return sum(before), sum(now)

    def extract_output(self, counts: Counts) -> dict[metric_types.MetricKey, float]:
        return {self._key: mcnemar(*counts)}

    def _hit(self, example: metric_types.StandardMetricInputs, model: str) -> bool:
        label, probabilities, _ = next(
            metric_util.to_label_prediction_example_weight(
                example, eval_config=self._config, model_name=model, flatten=False
            )
        )
        return int(label.squeeze()) == int(probabilities.squeeze().argmax())
