"""The job's `[bless]` and slices as thresholds of the Evaluator, which asks `tf_example`."""

from tensorflow_model_analysis.proto import config_pb2 as tfma

from jobs.config import Job
from jobs.release_config import BlessConfig
from jobs.tfx_pipeline.mcnemar import McNemar
from pipeline.sources.tfrecord import NAME

SIGNATURE = "tf_example"
WHOLE: tuple[str, ...] = ()
CLASSES = (NAME,)  # within one class, accuracy is its recall
ROUNDING = 1e-6  # TFMA computes in float32


def eval_config(job: Job) -> tfma.EvalConfig:
    """Give what the Evaluator measures on the test split, and what it blesses by."""
    model = tfma.ModelSpec(
        signature_name=SIGNATURE, label_key="label", prediction_key="probabilities"
    )
    metrics = [_accuracy(job.bless), tfma.MetricConfig(class_name="ExampleCount")]
    if job.bless.compare:
        metrics.append(_mcnemar(job.bless))
    slices = [WHOLE, CLASSES, *((column,) for column in job.evaluate.slices)]
    return tfma.EvalConfig(
        model_specs=[model],
        slicing_specs=[tfma.SlicingSpec(feature_keys=keys) for keys in slices],
        metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
    )


def _accuracy(bless: BlessConfig) -> tfma.MetricConfig:
    recall = _at_least(bless.min_class_recall)
    if bless.compare:
        recall.change_threshold.CopyFrom(_change(-bless.max_class_fall))
    return tfma.MetricConfig(
        class_name="SparseCategoricalAccuracy",
        per_slice_thresholds=[_on(WHOLE, _at_least(bless.min_accuracy)), _on(CLASSES, recall)],
    )


def _mcnemar(bless: BlessConfig) -> tfma.MetricConfig:
    significant = tfma.MetricThreshold(change_threshold=_change(bless.significance))
    return tfma.MetricConfig(
        class_name=McNemar.__name__,
        module=McNemar.__module__,
        per_slice_thresholds=[_on(WHOLE, significant)],
    )


def _on(keys: tuple[str, ...], threshold: tfma.MetricThreshold) -> tfma.PerSliceMetricThreshold:
    return tfma.PerSliceMetricThreshold(
        slicing_specs=[tfma.SlicingSpec(feature_keys=keys)], threshold=threshold
    )


def _at_least(value: float) -> tfma.MetricThreshold:
    bound = tfma.GenericValueThreshold(lower_bound={"value": value - ROUNDING})
    return tfma.MetricThreshold(value_threshold=bound)


def _change(least: float) -> tfma.GenericChangeThreshold:
    return tfma.GenericChangeThreshold(
        direction=tfma.MetricDirection.HIGHER_IS_BETTER, absolute={"value": least - ROUNDING}
    )
