"""Classify, Regress and MultiInference: signatures over serialized tf.Examples.

What is refused, and in which words: classifier.cc, regressor.cc and multi_inference.cc of
TensorFlow Serving.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import classification_pb2, inference_pb2, regression_pb2

from serving.errors import RequestError
from serving.predictor import Predictor, Query, Result
from serving.signature import CLASSIFY, REGRESS, Signature, type_name
from serving.tensors import Array, number

INPUT = "inputs"  # the names that TensorFlow's signature builders give
CLASSES, SCORES, VALUES = "classes", "scores", "outputs"
MAX_CONTEXT = 64 << 20  # bytes of a shared context, times the examples that it is merged into
KINDS = {CLASSIFY: "classification", REGRESS: "regression"}

Task = tuple[Query, str]  # and the name of its method


def classify(predictor: Predictor, query: Query, examples: Array) -> tuple[Any, int]:
    """Return the ClassificationResult and the version that gave it. Raises RequestError."""
    result = _run(predictor, query, examples, CLASSIFY)
    return classifications(result.outputs, len(examples)), result.version


def regress(predictor: Predictor, query: Query, examples: Array) -> tuple[Any, int]:
    """Return the RegressionResult and the version that gave it. Raises RequestError."""
    result = _run(predictor, query, examples, REGRESS)
    return regressions(result.outputs, len(examples)), result.version


def infer(predictor: Predictor, tasks: list[Task], examples: Array) -> Any:
    """Return the MultiInferenceResponse. All tasks run on one version. Raises RequestError."""
    if not tasks or not tasks[0][0].model:
        raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
    first = tasks[0][0]
    while True:
        number = predictor.registry.find(first.model, first.version, first.label).number
        pinned = [
            (query._replace(version=number, label=None, api="multi_inference"), method)
            for query, method in tasks
        ]
        try:
            return _infer(predictor, pinned, examples)
        except RequestError as error:
            # A version that took over in between has unloaded this one: all tasks go to that one.
            found = predictor.registry.find(first.model, first.version, first.label)
            if error.code != "NOT_FOUND" or found.number == number:
                raise


def serialized(source: Any) -> Array:
    """Return the examples of an Input message, the shared context merged under each one's features.

    Raises RequestError when there are none.
    """
    if source.WhichOneof("kind") == "example_list_with_context":
        context, listed = (
            source.example_list_with_context.context,
            source.example_list_with_context.examples,
        )
        if (size := context.ByteSize() * len(listed)) > MAX_CONTEXT:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"the context of {len(listed)} examples takes {size} bytes with each of them; at "
                f"most {MAX_CONTEXT} are allowed",
            )
        examples = [_in_context(context, e) for e in listed]
    else:
        examples = list(source.example_list.examples)
    if not examples:
        raise RequestError("INVALID_ARGUMENT", "Input is empty.")
    rows = np.empty(len(examples), np.object_)
    rows[:] = [example.SerializeToString() for example in examples]
    return rows


def check_signature(found: Signature, method: str, by_name: bool = False) -> None:
    """Raise RequestError unless a signature takes and gives what a method needs.

    `by_name`: it must have been exported for that method, too; no TF 2 export is.
    """
    kind = KINDS[method]
    if by_name and found.method != method:
        raise _invalid(f"Expected {kind} signature method_name to be {method}. Was: {found.method}")
    if len(found.inputs) != 1:
        raise _invalid("Expected one input Tensor.")
    if INPUT not in found.inputs:
        raise _invalid(f"No {kind} inputs found in SignatureDef: {sorted(found.inputs)}")
    if method == CLASSIFY and len(found.outputs) not in (1, 2):
        raise _invalid(f"Expected one or two output Tensors, found {len(found.outputs)}")
    if method == REGRESS and len(found.outputs) != 1:
        raise _invalid("Expected one output Tensor.")
    if method == REGRESS and VALUES not in found.outputs:
        raise _precondition(f"No regression outputs found in SignatureDef: {sorted(found.outputs)}")
    if method == CLASSIFY and not found.outputs.keys() & {CLASSES, SCORES}:
        raise _precondition(
            "Expected classification signature outputs to contain at least one of "
            f'"{CLASSES}" or "{SCORES}". Signature was: {sorted(found.outputs)}'
        )


def classifications(outputs: Mapping[str, Array], count: int) -> Any:
    """Return the ClassificationResult of `count` examples. Raises RequestError."""
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for name, array, wanted in ((CLASSES, classes, "DT_STRING"), (SCORES, scores, "DT_FLOAT")):
        if array is not None:
            _check_output(name, array, wanted, count)
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise _invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    shaped = scores if scores is not None else classes
    columns = 0 if shaped is None else shaped.shape[1]
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        entry = result.classifications.add()
        for column in range(columns):
            # No message can hold text that is no UTF-8.
            label = classes[row, column].decode(errors="replace") if classes is not None else ""
            score = float(scores[row, column]) if scores is not None else 0.0
            entry.classes.add(label=label, score=score)
    return result


def regressions(outputs: Mapping[str, Array], count: int) -> Any:
    """Return the RegressionResult of `count` examples. Raises RequestError."""
    values = outputs[VALUES]
    if values.ndim != 1 and (values.ndim != 2 or values.shape[1] != 1):
        raise _invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(values)}"
        )
    if len(values) != count:
        raise _invalid(
            f"Input batch size did not match output batch size: {count} vs. {len(values)}"
        )
    if _type(values) != "DT_FLOAT":
        raise _invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type(values)}")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _in_context(context: Any, example: Any) -> Any:
    merged = Example()
    merged.CopyFrom(context)
    for name, feature in example.features.feature.items():
        merged.features.feature[name].CopyFrom(feature)
    return merged


def _infer(predictor: Predictor, tasks: list[Task], examples: Array) -> Any:
    _check_tasks(predictor, tasks)
    response = inference_pb2.MultiInferenceResponse()
    for query, method in tasks:
        entry = response.results.add()
        result = predictor.predict(query, {INPUT: examples})
        if method == CLASSIFY:
            found = classifications(result.outputs, len(examples))
            entry.classification_result.CopyFrom(found)
        else:
            entry.regression_result.CopyFrom(regressions(result.outputs, len(examples)))
        entry.model_spec.name = query.model
        entry.model_spec.version.value = result.version
        entry.model_spec.signature_name = query.signature
    return response


def _run(predictor: Predictor, query: Query, examples: Array, method: str) -> Result:
    found = _signature(predictor, query, "No signature was found with the name")
    with predictor.reading(query):
        check_signature(found, method, predictor.check_methods)
    return predictor.predict(query, {INPUT: examples})


def _signature(predictor: Predictor, query: Query, otherwise: str) -> Signature:
    try:
        return predictor.signature(query)
    except RequestError as error:
        if error.code != "FAILED_PRECONDITION":
            raise
        raise _invalid(f"{otherwise}: {query.signature}") from None


def _check_tasks(predictor: Predictor, tasks: list[Task]) -> None:
    seen = set()
    for query, method in tasks:
        if not query.model:
            raise _invalid("Found ModelSpec with an empty model name.")
        if query.model != tasks[0][0].model:
            raise _invalid(
                "All ModelSpecs in a MultiInferenceRequest must access the same model name."
            )
        if query.signature in seen:
            raise _invalid(f"Duplicate evaluation of signature: {query.signature}")
        seen.add(query.signature)
        found = _signature(predictor, query, "Requested signature not found in model graph")
        if method not in KINDS:
            raise RequestError("UNIMPLEMENTED", f"Unsupported signature method_name: {method}")
        check_signature(found, method, predictor.check_methods)


def _check_output(name: str, array: Array, wanted: str, count: int) -> None:
    if array.ndim != 2:
        raise _invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)}")
    if _type(array) != wanted:
        raise _invalid(f"Expected {name} Tensor of {wanted}. Got: {_type(array)}")
    if len(array) != count:
        raise _invalid(f"Expected {name} output batch size of {count}. Got: {len(array)}")


def _type(array: Array) -> str:
    return f"DT_{type_name(number(array.dtype)).upper()}"


def _shape(array: Array) -> str:
    return f"[{','.join(map(str, array.shape))}]"


def _invalid(message: str) -> RequestError:
    return RequestError("INVALID_ARGUMENT", message)


def _precondition(message: str) -> RequestError:
    return RequestError("FAILED_PRECONDITION", message)
