"""Classify, Regress and MultiInference: signatures over serialized tf.Examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from serving.errors import RequestError
from serving.predictor import Predictor, Query, Result
from serving.signature import CLASSIFY, REGRESS
from serving.tensors import Array

INPUT = "inputs"  # the names that TensorFlow's signature builders give
CLASSES, SCORES, VALUES = "classes", "scores", "outputs"


def classify(predictor: Predictor, query: Query, examples: Array) -> tuple[Any, int]:
    """The ClassificationResult and the version that gave it. Raises RequestError."""
    result = _run(predictor, query, examples, CLASSIFY)
    return _classifications(result.outputs), result.version


def regress(predictor: Predictor, query: Query, examples: Array) -> tuple[Any, int]:
    """The RegressionResult and the version that gave it. Raises RequestError."""
    result = _run(predictor, query, examples, REGRESS)
    return _regressions(result.outputs), result.version


def infer(predictor: Predictor, queries: list[tuple[Query, str]], examples: Array) -> Any:
    """The MultiInferenceResponse of queries with their method names. Raises RequestError."""
    _check_tasks(queries)
    response = inference_pb2.MultiInferenceResponse()
    for query, method in queries:
        entry = response.results.add()
        query = query._replace(api="multi_inference")
        if method == CLASSIFY:
            result, version = classify(predictor, query, examples)
            entry.classification_result.CopyFrom(result)
        else:
            result, version = regress(predictor, query, examples)
            entry.regression_result.CopyFrom(result)
        entry.model_spec.name = query.model
        entry.model_spec.version.value = version
        entry.model_spec.signature_name = query.signature
    return response


def serialized(source: Any) -> Array:
    """The examples of an Input message, each with the shared context merged under its own features.

    Raises RequestError when there are none.
    """
    if source.WhichOneof("kind") == "example_list_with_context":
        context = source.example_list_with_context.context
        examples = [_in_context(context, e) for e in source.example_list_with_context.examples]
    else:
        examples = list(source.example_list.examples)
    if not examples:
        raise RequestError("INVALID_ARGUMENT", "Input is empty.")
    rows = np.empty(len(examples), np.object_)
    rows[:] = [example.SerializeToString() for example in examples]
    return rows


def _in_context(context: Any, example: Any) -> Any:
    merged = Example()
    merged.CopyFrom(context)
    for name, feature in example.features.feature.items():
        merged.features.feature[name].CopyFrom(feature)
    return merged


def _run(predictor: Predictor, query: Query, examples: Array, method: str) -> Result:
    try:
        found = predictor.signature(query)
    except RequestError as error:
        if error.code != "FAILED_PRECONDITION":
            raise
        raise RequestError(
            "INVALID_ARGUMENT", f"No signature was found with the name: {query.signature}"
        ) from None
    with predictor.reading(query):
        _check_method(found.method, method)
    return predictor.predict(query, {INPUT: examples})


def _check_method(found: str, expected: str) -> None:
    if found != expected:
        kind = "classification" if expected == CLASSIFY else "regression"
        raise RequestError(
            "INVALID_ARGUMENT",
            f"Expected {kind} signature method_name to be {expected}. Was: {found}",
        )


def _classifications(outputs: Mapping[str, Array]) -> Any:
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    shaped = scores if scores is not None else classes
    if shaped is None or shaped.ndim != 2:
        raise RequestError("FAILED_PRECONDITION", "Expected classes or scores of shape [N, K]")
    result = classification_pb2.ClassificationResult()
    for row in range(shaped.shape[0]):
        entry = result.classifications.add()
        for column in range(shaped.shape[1]):
            label = classes[row, column].decode() if classes is not None else ""
            score = float(scores[row, column]) if scores is not None else 0.0
            entry.classes.add(label=label, score=score)
    return result


def _regressions(outputs: Mapping[str, Array]) -> Any:
    values = outputs.get(VALUES)
    if values is None or values.size != len(values):
        raise RequestError("FAILED_PRECONDITION", "Expected outputs of shape [N] or [N, 1]")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _check_tasks(queries: list[tuple[Query, str]]) -> None:
    if len({query.model for query, _ in queries}) > 1:
        raise RequestError(
            "INVALID_ARGUMENT",
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        )
    seen = set()
    for query, method in queries:
        if query.signature in seen:
            raise RequestError(
                "INVALID_ARGUMENT", f"Duplicate evaluation of signature: {query.signature}"
            )
        seen.add(query.signature)
        if method not in (CLASSIFY, REGRESS):
            raise RequestError("UNIMPLEMENTED", f"Unsupported signature method_name: {method}")
